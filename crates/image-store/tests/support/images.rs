//! Images made on the spot, and a registry to keep them in.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_oci::Digest;

use super::{path_text, run};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// An OCI layout in a directory.
pub(crate) struct Layout {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) manifests: Vec<String>,
}

pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: usize,
}

impl Layout {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { directory, manifests: Vec::new() }
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> Blob {
        let digest = Digest::of(bytes);
        fs::write(self.directory.path().join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        Blob { digest, size: bytes.len() }
    }

    pub(crate) fn add(&mut self, name: &str, architecture: &str, layers: &[(Vec<u8>, Packing)]) -> Digest {
        let diff_ids: Vec<Digest> = layers.iter().map(|(tar, _)| Digest::of(tar)).collect();
        self.add_claiming(name, architecture, layers, &diff_ids)
    }

    /// Adds an image whose configuration may claim wrong DiffIDs.
    pub(crate) fn add_claiming(
        &mut self,
        name: &str,
        architecture: &str,
        layers: &[(Vec<u8>, Packing)],
        diff_ids: &[Digest],
    ) -> Digest {
        let descriptors: Vec<_> = layers
            .iter()
            .map(|(tar, packing)| {
                let (bytes, suffix) = match packing {
                    Packing::Plain => (tar.clone(), ""),
                    Packing::Gzip => {
                        let mut encoder =
                            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                        encoder.write_all(tar).unwrap();
                        (encoder.finish().unwrap(), "+gzip")
                    }
                    Packing::Zstd => (zstd::encode_all(&tar[..], 1).unwrap(), "+zstd"),
                };
                let blob = self.blob(&bytes);
                serde_json::json!({
                    "mediaType": format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
                    "digest": blob.digest,
                    "size": blob.size,
                })
            })
            .collect();
        let configuration = serde_json::json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let configuration = self.blob(configuration.to_string().as_bytes());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": configuration.digest,
                "size": configuration.size,
            },
            "layers": descriptors,
        });
        let manifest = self.blob(manifest.to_string().as_bytes());
        let entry = serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest.digest,
            "size": manifest.size,
            "platform": {"os": "linux", "architecture": architecture},
            "annotations": {"org.opencontainers.image.ref.name": name},
        });
        self.manifests.push(entry.to_string());
        self.write_index();
        manifest.digest
    }

    /// Replaces all entries by one index of them.
    pub(crate) fn wrap_in_index(&mut self, name: &str) -> Digest {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
            self.manifests.join(",")
        );
        let index = self.blob(text.as_bytes());
        self.manifests = vec![format!(
            r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{}","size":{},
                "annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#,
            index.digest, index.size
        )];
        self.write_index();
        index.digest
    }

    fn write_index(&self) {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, self.manifests.join(","));
        fs::write(self.directory.path().join("index.json"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The layout as a tar.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let target = tempfile::NamedTempFile::new().unwrap();
        run("tar", &["-cf", path_text(target.path()), "-C", path_text(self.path()), "."]);
        fs::read(target.path()).unwrap()
    }
}

/// Debian's docker-registry on loopback; ends with the test.
pub(crate) struct Registry {
    process: Child,
    directory: tempfile::TempDir,
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let configuration = directory.path().join("registry.yml");
        let storage = directory.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: {address}}}\n",
            storage.display()
        );
        fs::write(&configuration, text).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("docker-registry is missing: apt-get install docker-registry");
        let started = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, directory, address }
    }

    /// Copies one image of a layout, or all of an index, with skopeo.
    pub(crate) fn push(&self, layout: &Layout, name: &str, target: &str) {
        let source = format!("oci:{}:{name}", path_text(layout.path()));
        let target = format!("docker://{}/{target}", self.address);
        let arguments = [
            "copy",
            "--quiet",
            "--all",
            "--insecure-policy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &source,
            &target,
        ];
        run("skopeo", &arguments);
    }

    /// How often a blob was fetched.
    pub(crate) fn downloads(&self, digest: &Digest) -> usize {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap();
        let needle = format!("GET /v2/[^ ]*blobs/{digest}");
        let needle = needle.rsplit('/').next().unwrap_or_default().to_owned();
        log.lines()
            .filter(|line| {
                line.contains("\"GET /v2/") && line.contains(&needle) && line.contains("HTTP/1.1\" 200")
            })
            .count()
    }

    /// The file that holds a blob.
    pub(crate) fn blob_path(&self, digest: &Digest) -> std::path::PathBuf {
        let hex = digest.hex();
        let blobs = self.directory.path().join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(&hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
