//! A host of its own, as far as networks, mounts and users are concerned.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::{env, fs, io};

use rustix::fs::{CWD, FileType, Mode, chmod, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::outside::ip;

/// Users of tests; other users of the host come after them.
const FIRST_USER: u32 = 61_000;
const USERS: u32 = 1000;
/// Of the ordinary user of [`OwnHost::with_subordinate_ids`]; other ranges of the host come before.
pub const FIRST_SUBORDINATE_ID: u32 = 1_500_000_000;
/// As many as usual.
pub const SUBORDINATE_IDS: u32 = 65_536;
/// Where each host has a file system of its own.
const PRIVATE: &str = "/dev/net";
static NEXT_FILE: AtomicU32 = AtomicU32::new(0);
/// Major and minor number of /dev/net/tun, Linux, Documentation/admin-guide/devices.txt.
const TUNNEL_DEVICE: (u32, u32) = (10, 200);

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace and a mount namespace on a thread of their own, and an ordinary user there. What is
/// made in them goes with the value.
#[derive(Debug)]
pub struct OwnHost {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    namespaces: String,
    user: u32,
}

impl OwnHost {
    /// One with nothing but a loopback, and with /dev/net/tun for everybody, as udev(7) makes it.
    ///
    /// # Panics
    /// The test does not run as root, or the host lacks what ordinary users need.
    #[must_use]
    pub fn new() -> Self {
        Self::of(FIRST_USER + std::process::id() % USERS)
    }

    /// One whose user has [`SUBORDINATE_IDS`] users and groups from [`FIRST_SUBORDINATE_ID`] on, and a name.
    ///
    /// # Panics
    /// As [`Self::new`]
    #[must_use]
    pub fn with_subordinate_ids() -> Self {
        let host = Self::new();
        host.name_user();
        let range = format!("tester:{FIRST_SUBORDINATE_ID}:{SUBORDINATE_IDS}\n");
        host.replace("/etc/subuid", &range, 0o644);
        host.replace("/etc/subgid", &range, 0o644);
        host
    }

    /// Gives the ordinary user a name: tester.
    ///
    /// # Panics
    /// As [`Self::replace`]
    pub fn name_user(&self) {
        let mut users = fs::read_to_string("/etc/passwd").expect("users of the host");
        users += &format!("tester:x:{0}:{0}::/nonexistent:/bin/sh\n", self.user);
        self.replace("/etc/passwd", &users, 0o644);
    }

    /// Puts other content, with these rights, in the place of a file of the host.
    ///
    /// # Panics
    /// There is no such file.
    pub fn replace(&self, path: &str, content: &str, mode: u32) {
        // In a file system of this host, that allows what its files do and goes with it.
        let file = format!("{PRIVATE}/{}", NEXT_FILE.fetch_add(1, Ordering::Relaxed));
        let (path, content) = (path.to_owned(), content.to_owned());
        self.run(move || {
            fs::write(&file, content).expect("a file in the place of another");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("mode of a file");
            mount_bind(&file, &path).expect("mount");
        });
    }

    /// One whose user is root.
    ///
    /// # Panics
    /// As [`Self::new`]
    #[must_use]
    pub fn of_root() -> Self {
        Self::of(0)
    }

    fn of(user: u32) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test changes users: run it as root");
        let (jobs, queue) = mpsc::channel::<Job>();
        let (made, is_made) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: no descriptor table is unshared; the working directory is this thread's from now on.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }.expect("namespaces");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("mounts");
            make_tunnel_device().expect("/dev/net/tun: modprobe tun");
            ip(&["link", "set", "lo", "up"]);
            made.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("test");
            queue.into_iter().for_each(|job| job());
        });
        let id = is_made.recv().expect("namespaces");
        let namespaces = format!("/proc/{}/task/{id}/ns", std::process::id());
        Self { jobs: Some(jobs), thread: Some(thread), namespaces, user }
    }

    /// The ordinary user's id.
    #[must_use]
    pub fn user(&self) -> u32 {
        self.user
    }

    /// Does something on this host, as root.
    ///
    /// # Panics
    /// It does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let job = move || sender.send(job()).expect("test");
        self.jobs.as_ref().expect("host").send(Box::new(job)).expect("host");
        receiver.recv().expect("the job panicked")
    }

    /// A command of the ordinary user on this host.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([format!("--net={}/net", self.namespaces), format!("--mount={}/mnt", self.namespaces)])
            .arg("setpriv")
            .args([format!("--reuid={}", self.user), format!("--regid={}", self.user)])
            .args(["--clear-groups", "--"])
            .arg(program)
            .env_remove("PATH")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
    }

    /// Puts a tree at a path of this host.
    pub(crate) fn bind(&self, tree: PathBuf, path: PathBuf) {
        self.run(move || mount_bind(&tree, &path).expect("mount"));
    }

    /// Takes a program away.
    pub fn hide_program(&self, name: &str) {
        let found = env::split_paths("/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin")
            .map(|folder| folder.join(name))
            .filter(|path| path.is_file());
        found.for_each(|path| self.bind("/dev/null".into(), path));
    }
}

impl Default for OwnHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for OwnHost {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the host of the test failed");
        }
    }
}

/// Fails the test where a program is missing.
///
/// # Panics
/// It is.
#[track_caller]
pub fn require_program(name: &str, package: &str) {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "{name} is missing: apt-get install {package}");
}

fn make_tunnel_device() -> io::Result<()> {
    let folder = Path::new(PRIVATE);
    if !folder.exists() {
        fs::create_dir(folder)?;
    }
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), None)?;
    let device = folder.join("tun");
    let (major, minor) = TUNNEL_DEVICE;
    mknodat(CWD, &device, FileType::CharacterDevice, Mode::from(0o666), makedev(major, minor))?;
    // Whatever the umask.
    chmod(&device, Mode::from(0o666))?;
    chmod(folder, Mode::from(0o755)).map_err(io::Error::from)
}
