//! The jail of a server. What is left to one that was taken over:
//!
//! | | |
//! |---|---|
//! | files | what is shared, without devices and set-id programs, read-only if that was asked for |
//! | processes | none but itself; it is the init of a PID namespace |
//! | network, IPC, UTS | empty namespaces of its own |
//! | rights | those that keep owners and modes of files ([`crate::rights`]), none to be gained |
//! | system calls | those of a file server |
//! | descriptors | the socket to its machine, its own `/proc/self/fd` |
//!
//! Without root all of it is in a user namespace ([`crate::namespace`]), in which the user of the host is root.
//!
//! The order matters: mounts are cloned while they can still be named, namespaces are left while there
//! is one thread.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::{io, ptr};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};
use rustix::process::{Pid, Signal, WaitOptions, fchdir, pivot_root, waitpid};
use rustix::thread::UnshareFlags;
use thiserror::Error;

use crate::namespace::{self, Ids};

/// What a shared file is called in the server's root; the helper knows it too.
const FILE_NAME: &CStr = c"file";
/// One open descriptor for each file that the guest has looked up.
const MAXIMUM_OPEN_FILES: u64 = 1 << 20;

/// A step of the jail failed.
#[derive(Debug, Error)]
#[error("cannot {step}")]
pub(crate) struct JailError {
    step: &'static str,
    #[source]
    source: io::Error,
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> JailError {
    move |source| JailError { step, source: source.into() }
}

/// Raises the limit of open files as far as it goes; returns it.
pub(crate) fn open_file_limit() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let maximum = Some(MAXIMUM_OPEN_FILES);
    if limit.maximum.is_some_and(|known| known < MAXIMUM_OPEN_FILES)
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok()
    {
        return Ok(MAXIMUM_OPEN_FILES);
    }
    let wanted = limit.maximum.map_or(MAXIMUM_OPEN_FILES, |maximum| maximum.min(MAXIMUM_OPEN_FILES));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    Ok(wanted)
}

/// Enters the jail; returns the `/proc/self/fd` of the server. `None` in the waiter, when the server
/// has ended well.
pub(crate) fn enter(shared: OwnedFd, ids: Ids, read_only: bool) -> Result<Option<File>, JailError> {
    let shared = match ids {
        Ids::Host => shared,
        ids => become_root(&shared, ids)?,
    };
    let is_directory = fstat(&shared)
        .map(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
        .map_err(step("examine what is shared"))?;
    let tree =
        clone_tree(shared.as_fd(), c"", is_directory).map_err(step("clone the mount of what is shared"))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let further = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    set_attributes(&tree, attributes | further).map_err(step("restrict the mount of what is shared"))?;
    drop(shared);
    let namespaces = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    // SAFETY: this process has one thread; none of these namespaces concerns memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
        .map_err(step("leave the namespaces of the host"))?;
    // Into the new PID namespace, of which this process itself is no member.
    // SAFETY: this process has one thread, so that the child may do whatever its parent may.
    match unsafe { libc::fork() } {
        -1 => return Err(step("fork")(io::Error::last_os_error())),
        // The server ends with its machine; and with its waiter, which follows the helper, should it hang.
        0 => rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(step("follow the helper"))?,
        child => return wait_for(child).map(|()| None),
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(step("separate the mounts of the jail"))?;
    // A mount of its own, above which nothing is: its own /proc/self/fd, by which files are opened again.
    let descriptors = clone_tree(CWD, c"/proc/self/fd", false).map_err(step("keep /proc/self/fd"))?;
    if is_directory {
        attach(&tree, CWD, c".").map_err(step("mount what is shared"))?;
        enter_root(&tree).map_err(step("enter what is shared"))?;
    } else {
        let root = root_for_file().map_err(step("make a root for the shared file"))?;
        // Before anything is mounted in it, which keeps its own.
        set_attributes(&root, attributes | MountAttrFlags::MOUNT_ATTR_RDONLY)
            .map_err(step("restrict the root of the shared file"))?;
        attach(&root, CWD, c".").map_err(step("mount the root of the shared file"))?;
        attach(&tree, &root, FILE_NAME).map_err(step("mount what is shared"))?;
        enter_root(&root).map_err(step("enter the root of the shared file"))?;
    }
    Ok(Some(File::from(descriptors)))
}

/// Makes an ordinary user root of a user namespace, with a copy of the mounts; returns what is shared as
/// it is there: mounts of the host's own namespace cannot be cloned with these rights.
fn become_root(shared: &OwnedFd, ids: Ids) -> Result<OwnedFd, JailError> {
    let named = std::fs::read_link(format!("/proc/self/fd/{}", shared.as_raw_fd()))
        .map_err(step("find the name of what is shared"))?;
    namespace::enter(ids).map_err(step("become root of a user namespace"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let again = openat(CWD, &named, flags, Mode::empty()).map_err(step("open what is shared again"))?;
    let identity = |file: &OwnedFd| fstat(file).map(|status| (status.st_dev, status.st_ino));
    let same = identity(shared).and_then(|before| Ok(before == identity(&again)?));
    match same.map_err(step("examine what is shared"))? {
        true => Ok(again),
        // Replaced since the helper looked it up, which counts.
        false => Err(step("share it")(io::Error::other("it has just been replaced"))),
    }
}

/// Its end is that of the server, its reason as well.
fn wait_for(child: libc::pid_t) -> Result<(), JailError> {
    let pid = Pid::from_raw(child);
    let status = rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()));
    match status.map_err(step("wait for the server"))? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        Some((_, status)) if status.exit_status().is_some() => std::process::exit(1),
        Some((_, status)) => {
            let signal = status.terminating_signal().unwrap_or(0);
            Err(step("go on: the server was killed")(io::Error::other(format!("signal {signal}"))))
        }
        None => Ok(()),
    }
}

fn clone_tree(directory: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(directory, path, flags)
}

fn attach(tree: &OwnedFd, directory: impl AsFd, path: &CStr) -> Result<(), Errno> {
    move_mount(tree, c"", directory, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A read-only root with one empty file.
fn root_for_file() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("source", "tmpfs"), ("size", "4096"), ("nr_inodes", "4"), ("mode", "0755")] {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(&root, FILE_NAME, flags, Mode::RUSR)?;
    Ok(root)
}

/// pivot_root(2), "pivot_root(".", ".")": the old root is then on top of the new one.
fn enter_root(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// mount_setattr(2) of a mount and all below it, which rustix does not wrap.
fn set_attributes(tree: &OwnedFd, set: MountAttrFlags) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: set.bits().into(), attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path ends with a null and the structure is as long as its size says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
