//! A host of its own for each test: a network namespace, one for the world outside, and a daemon.
#![allow(dead_code, clippy::print_stdout, reason = "each test file uses its own part")]

pub(crate) mod guest;
pub(crate) mod namespace;
pub(crate) mod packet;
pub(crate) mod published;
pub(crate) mod query;
pub(crate) mod six;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_network_control::{
    Client, ClientError, Lease, LeaseRequest, NetworkConfiguration, Reply, Request, RestoreRequest,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use namespace::{Namespace, run_program};

/// The host's address on its way outside.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Somebody outside.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// A host and the world outside.
pub(crate) struct Host {
    pub(crate) host: Namespace,
    pub(crate) outside: Namespace,
    folder: TempDir,
    pub(crate) runtime: Runtime,
}

/// A running container-network.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) client: Option<Client>,
    pub(crate) root: PathBuf,
}

impl Host {
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces: run them as root"
        );
        let (host, outside) = (Namespace::new(), Namespace::new());
        outside.run(|| run_program("ip", &["link", "set", "lo", "up"]));
        let thread = outside.thread_id().to_string();
        host.run(move || {
            run_program("ip", &["link", "set", "lo", "up"]);
            run_program(
                "ip",
                &["link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", &thread],
            );
            run_program("ip", &["address", "add", "203.0.113.2/24", "dev", "wan"]);
            run_program("ip", &["link", "set", "wan", "up"]);
        });
        outside.run(|| {
            run_program("ip", &["address", "add", "203.0.113.1/24", "dev", "wan"]);
            run_program("ip", &["link", "set", "wan", "up"]);
        });
        let folder = tempfile::Builder::new().prefix("bn").tempdir_in("/tmp").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { host, outside, folder, runtime }
    }

    /// Starts a daemon whose directories have this name.
    pub(crate) fn start(&self, name: &str) -> Daemon {
        let root = self.folder.path().join(name);
        let resolver = self.folder.path().join("resolv.conf");
        fs::write(&resolver, format!("nameserver {OUTSIDE}\n")).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(env!("CARGO_BIN_EXE_container-network"));
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(std::iter::once(self.programs()).chain(std::env::split_paths(&path)));
        command.stdin(Stdio::null()).env_clear().env("PATH", path.unwrap());
        for (variable, folder) in [("APP", "app"), ("LOG", "log"), ("RUNTIME", "run"), ("INSTALL", "install")]
        {
            command.env(format!("CONTAINER_{variable}_ROOT"), root.join(folder));
        }
        let child = self.host.run(move || {
            namespace::private_mount(&resolver, Path::new("/etc/resolv.conf"));
            // SAFETY: dup2 alone, between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    if libc::dup2(theirs.as_raw_fd(), 3) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                    Ok(())
                });
            }
            command.spawn().unwrap()
        });
        ours.set_nonblocking(true).unwrap();
        let client =
            self.runtime.block_on(async { Client::over(tokio::net::UnixStream::from_std(ours).unwrap()) });
        Daemon { child, client: Some(client), root }
    }

    /// Programs that daemons find before those of the system.
    pub(crate) fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// Asks a daemon.
    pub(crate) fn request(
        &self,
        daemon: &Daemon,
        request: Request,
    ) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        self.runtime.block_on(daemon.client.as_ref().unwrap().request(request))
    }

    /// A lease on the default network.
    pub(crate) fn lease(&self, daemon: &Daemon, id: &str) -> (Lease, OwnedFd) {
        self.lease_as(daemon, plain(id)).unwrap()
    }

    pub(crate) fn lease_as(
        &self,
        daemon: &Daemon,
        request: LeaseRequest,
    ) -> Result<(Lease, OwnedFd), ClientError> {
        let (reply, descriptors) = self.request(daemon, Request::Lease(request))?;
        let Reply::Lease(lease) = reply else { panic!("{reply:?}") };
        Ok((lease, descriptors.into_iter().next().unwrap()))
    }

    /// Names of the host's network devices.
    pub(crate) fn devices(&self) -> String {
        self.host.run(|| run_program("ip", &["-br", "link"]))
    }

    pub(crate) fn rules(&self) -> String {
        self.host.run(|| run_program("nft", &["list", "ruleset"]))
    }

    /// Whether daemons have a folder for their uplinks on this host.
    pub(crate) fn has_uplinks(&self) -> bool {
        self.host.run(|| {
            use std::os::unix::fs::MetadataExt;
            let inode = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
            Path::new("/run/bulkhead-uplinks").join(inode.to_string()).exists()
        })
    }

    pub(crate) fn forwarding(&self) -> String {
        self.host.run(|| fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim().to_owned())
    }
}

/// The network `default` as the apiserver makes it.
pub(crate) fn default_network() -> NetworkConfiguration {
    NetworkConfiguration {
        name: "default".to_owned(),
        ipv4_subnet: Some("192.168.64.0/24".to_owned()),
        ipv6_subnet: None,
        internal: false,
        options: BTreeMap::new(),
    }
}

/// A request without wishes.
pub(crate) fn plain(id: &str) -> LeaseRequest {
    LeaseRequest {
        container_id: id.to_owned(),
        network: "default".to_owned(),
        hostname: id.to_owned(),
        mac_address: None,
        mtu: None,
        ipv4_address: None,
        ipv6_address: None,
        aliases: Vec::new(),
        egress: None,
    }
}

/// What an apiserver says of a lease to the next daemon.
pub(crate) fn restoration(wanted: &LeaseRequest, lease: &Lease) -> RestoreRequest {
    let address = |text: &str| text.split('/').next().unwrap().to_owned();
    RestoreRequest {
        container_id: wanted.container_id.clone(),
        network: lease.network.clone(),
        hostname: wanted.hostname.clone(),
        aliases: wanted.aliases.clone(),
        egress: wanted.egress.clone(),
        ipv4_address: address(&lease.ipv4_address).parse().unwrap(),
        ipv6_address: lease.ipv6_address.as_deref().map(|text| address(text).parse().unwrap()),
        mac_address: lease.mac_address.clone(),
        mtu: lease.mtu,
    }
}

impl Daemon {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.join("log/network.log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("run/network.sock")
    }

    /// Sockets among its descriptors.
    pub(crate) fn open_sockets(&self) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        entries
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.terminate();
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            println!("network.log:\n{log}");
        }
    }
}

/// How long a test waits for what must happen: long enough for a machine with much else to do.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Waits for what happens soon.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SOON, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Takes ownership of a raw descriptor that a system call returned.
pub(crate) fn owned(descriptor: i32) -> OwnedFd {
    assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: fresh from the kernel.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
