//! /dev of the container: a tmpfs with the devices and links of the OCI runtime specification
//! ("Default Devices", "Dev symbolic links"), devpts, shm and mqueue.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, makedev, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, mount, open_tree};
use rustix::process::umask;

const AT_RECURSIVE: u32 = libc::AT_RECURSIVE as u32;
const SHM_DEFAULT_BYTES: u64 = 64 * 1024 * 1024;

/// Where PID 1 keeps its own view of the tree; the directory comes with the initramfs.
pub(crate) const PSEUDO_TERMINAL_MULTIPLEXER: &CStr = c"/devices/pts/ptmx";

/// Linux's fixed numbers, Documentation/admin-guide/devices.txt.
const NODES: [(&CStr, u32, u32); 6] = [
    (c"/devices/null", 1, 3),
    (c"/devices/zero", 1, 5),
    (c"/devices/full", 1, 7),
    (c"/devices/random", 1, 8),
    (c"/devices/urandom", 1, 9),
    (c"/devices/tty", 5, 0),
];

/// Those that a container has to ask for, below /dev.
const FURTHER: [(&str, u32, u32); 2] = [("fuse", 10, 229), ("net/tun", 10, 200)];

const LINKS: [(&CStr, &CStr); 6] = [
    (c"pts/ptmx", c"ptmx"),
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"/proc/kcore", c"core"),
];

/// Fills /devices as far as that does not depend on the container.
pub(crate) fn prepare() -> Result<(), Errno> {
    let nosuid = MountFlags::NOSUID;
    let options = c"mode=755,size=64m";
    mount(c"tmpfs", c"/devices", c"tmpfs", nosuid | MountFlags::STRICTATIME, options)?;
    let original_mask = umask(Mode::empty());
    for (path, major, minor) in NODES {
        mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
    }
    umask(original_mask);
    let directory = rustix::fs::open(
        c"/devices",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for (target, name) in LINKS {
        symlinkat(target, &directory, name)?;
    }
    add_mounts(c"/devices/pts", c"/devices/mqueue", c"/devices/shm")
}

fn add_mounts(pts: &CStr, mqueue: &CStr, shm: &CStr) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    for path in [pts, mqueue, shm] {
        match mkdirat(CWD, path, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    let nosuid = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(c"devpts", pts, c"devpts", nosuid, c"newinstance,ptmxmode=0666,mode=0620,gid=5")?;
    mount(c"mqueue", mqueue, c"mqueue", nosuid | MountFlags::NODEV, None)
}

/// Completes the tree for one container and returns a detached copy of it.
pub(crate) fn finish(privileged: bool, terminal: bool, shm_size_bytes: u64) -> Result<OwnedFd, Errno> {
    if privileged {
        expose_all_devices()?;
    }
    let shm_size_bytes = if shm_size_bytes == 0 { SHM_DEFAULT_BYTES } else { shm_size_bytes };
    let options =
        std::ffi::CString::new(format!("mode=1777,size={shm_size_bytes}")).map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount(c"shm", c"/devices/shm", c"tmpfs", flags, options.as_c_str())?;
    if terminal {
        // The pseudo terminal is bound over it, as runc does.
        match mknodat(CWD, c"/devices/console", FileType::RegularFile, Mode::from_raw_mode(0o600), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, c"/devices", flags | OpenTreeFlags::from_bits_retain(AT_RECURSIVE))
}

/// Adds what this container asks for to its tree.
pub(crate) fn add(directory: &OwnedFd, paths: &[String]) -> Result<(), Errno> {
    for path in paths {
        let asked = path.strip_prefix("/dev/").ok_or(Errno::NODEV)?;
        let known = FURTHER.iter().find(|(name, ..)| *name == asked);
        let (name, major, minor) = *known.ok_or(Errno::NODEV)?;
        if let Some((parent, _)) = name.rsplit_once('/') {
            made(mkdirat(directory, parent, Mode::from_raw_mode(0o755)))?;
        }
        let original_mask = umask(Mode::empty());
        let mode = Mode::from_raw_mode(0o666);
        let node = mknodat(directory, name, FileType::CharacterDevice, mode, makedev(major, minor));
        umask(original_mask);
        made(node)?;
    }
    Ok(())
}

/// A privileged container has all of them anyway.
fn made(outcome: Result<(), Errno>) -> Result<(), Errno> {
    match outcome {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Puts the kernel's own devtmpfs in place of the tmpfs, completed by what a container expects.
fn expose_all_devices() -> Result<(), Errno> {
    mount(c"devtmpfs", c"/devices", c"devtmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, None)?;
    let directory = rustix::fs::open(
        c"/devices",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for (target, name) in LINKS {
        if name == c"ptmx" {
            // devtmpfs brings the device itself, which finds /dev/pts beside it.
            continue;
        }
        match symlinkat(target, &directory, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    add_mounts(c"/devices/pts", c"/devices/mqueue", c"/devices/shm")
}
