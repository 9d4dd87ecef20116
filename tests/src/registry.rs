//! Debian's docker-registry on loopback.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Outcome, digest, run_with_deadline, wait_until};

/// A registry over plain http, ended when it goes out of scope.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Registry {
    /// Starts one with its storage below `folder`.
    ///
    /// # Panics
    /// docker-registry is missing or does not come up.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        Self::start_as(folder, Access::Open)
    }

    /// Starts one that is more or less private.
    ///
    /// # Panics
    /// docker-registry or openssl is missing, or the registry does not come up.
    #[must_use]
    pub fn start_as(folder: &Path, access: Access) -> Self {
        Self::start_with(folder, access, Certificate::Right)
    }

    /// Starts one with a certificate that may be wrong.
    ///
    /// # Panics
    /// As [`Self::start_as`].
    #[must_use]
    pub fn start_with(folder: &Path, access: Access, certificate: Certificate) -> Self {
        let port = free_port();
        let folder = folder.join(format!("registry-{port}"));
        fs::create_dir_all(&folder).expect("folder of the registry");
        let mut private = String::new();
        if access != Access::Open {
            let path = folder.join("htpasswd");
            fs::write(&path, format!("{}:{PASSWORD_HASH}\n", Self::USER)).expect("htpasswd");
            private = format!("auth:\n  htpasswd: {{ realm: test, path: {} }}\n", path.display());
        }
        let mut tls = String::new();
        if access == Access::PrivateOverTls {
            make_certificates(&folder, certificate);
            tls =
                format!("  tls: {{ certificate: {0}/server.crt, key: {0}/server.key }}\n", folder.display());
        }
        let configuration = folder.join("config.yml");
        fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {0}/data }}\n  \
                 delete: {{ enabled: true }}\n{private}http:\n  addr: 127.0.0.1:{port}\n{tls}",
                folder.display()
            ),
        )
        .expect("configuration of the registry");
        let log = File::create(folder.join("log")).expect("log of the registry");
        let accesses = File::create(folder.join("access.log")).expect("log of the registry's requests");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(accesses)
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    panic!("docker-registry is missing: apt-get install docker-registry")
                }
                _ => panic!("cannot start docker-registry: {error}"),
            });
        wait_until("registry", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, folder }
    }

    /// Who may use one that is private.
    pub const USER: &str = "rider";
    /// With this.
    pub const PASSWORD: &str = "correct horse";

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority that signed that of the registry.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// `127.0.0.1:<port>/<name>`
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// How many requests it answered so far whose line in the log (method, path, status) contains all of `parts`.
    ///
    /// # Panics
    /// The log cannot be read.
    #[must_use]
    pub fn count_requests(&self, parts: &[&str]) -> usize {
        let log = fs::read_to_string(self.folder.join("access.log")).expect("log of the registry's requests");
        log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// The digest of a tag's manifest, and the manifest, as skopeo sees them.
    ///
    /// # Panics
    /// skopeo is missing or fails.
    #[track_caller]
    #[must_use]
    pub fn manifest(&self, name: &str) -> (String, Vec<u8>) {
        let source = format!("docker://{}", self.reference(name));
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &source]).stdout;
        (digest(&raw), raw)
    }

    /// Folder of the registry's blobs, to damage them.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.folder.join("data/docker/registry/v2/blobs")
    }

    /// Pushes an OCI archive with skopeo, for all its platforms.
    ///
    /// # Panics
    /// skopeo is missing or fails.
    #[track_caller]
    pub fn push(&self, archive: &Path, name: &str) {
        let source = format!("oci-archive:{}", archive.display());
        let target = format!("docker://{}", self.reference(name));
        skopeo(&["copy", "--all", "--quiet", "--dest-tls-verify=false", &source, &target]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().expect("kill the registry");
        self.child.wait().expect("wait for the registry");
    }
}

/// Who may use a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// [`Registry::USER`] with [`Registry::PASSWORD`].
    Private,
    /// The same, over TLS with a certificate that nobody knows.
    PrivateOverTls,
}

/// What is wrong with a registry's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Nothing.
    Right,
    /// It was good until 2021.
    Expired,
    /// It will be good from 2040 on.
    NotYetValid,
    /// It is that of `other.example`.
    OfAnotherHost,
}

/// bcrypt of [`Registry::PASSWORD`].
const PASSWORD_HASH: &str = "$2b$05$3NEfljkbcJGkAoHC1SOSS.HnP1vtSge5MO7JYUz9jW1aAZ5qZulyi";

/// An authority, and a certificate for 127.0.0.1 that it signed.
fn make_certificates(folder: &Path, certificate: Certificate) {
    let openssl = |arguments: &str| {
        let outcome =
            run_with_deadline(Command::new("openssl").args(arguments.split(' ')).current_dir(folder), b"");
        assert_eq!(outcome.code, 0, "openssl {arguments} (apt-get install openssl): {outcome:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=registry"));
    let name = match certificate {
        Certificate::OfAnotherHost => "DNS:other.example",
        _ => "IP:127.0.0.1",
    };
    let (from, to) = match certificate {
        Certificate::Expired => ("20200101000000Z", "20210101000000Z"),
        Certificate::NotYetValid => ("20400101000000Z", "20410101000000Z"),
        _ => ("20200101000000Z", "20400101000000Z"),
    };
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("files for openssl");
    write("names", &format!("subjectAltName={name}\n"));
    write("index.txt", "");
    write("serial", "01\n");
    write(
        "ca.conf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\npolicy=any\ndefault_md=sha256\n\
         [any]\ncommonName=supplied\n",
    );
    openssl(&format!(
        "ca -batch -notext -config ca.conf -cert ca.crt -keyfile ca.key -in server.csr -extfile names \
         -startdate {from} -enddate {to} -out server.crt"
    ));
}

/// Runs skopeo, which must succeed.
///
/// # Panics
/// It is missing or fails.
#[track_caller]
pub fn skopeo(arguments: &[&str]) -> Outcome {
    let outcome = run_with_deadline(Command::new("skopeo").arg("--insecure-policy").args(arguments), b"");
    assert_eq!(outcome.code, 0, "skopeo {arguments:?} (apt-get install skopeo): {outcome:?}");
    outcome
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    listener.local_addr().expect("address").port()
}
