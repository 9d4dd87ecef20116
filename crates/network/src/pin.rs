//! Keeps our network namespace alive when this process dies, so that containers keep their interfaces
//! and the next process finds them: its file of /proc is mounted at a path of the installation, as
//! ip-netns(8) does it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::fstatfs;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

/// `NSFS_MAGIC` of linux/magic.h.
const NAMESPACE_FILE_SYSTEM: u64 = 0x6e73_6673;
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// The namespace that an earlier process left; `None` if there is none.
pub(crate) fn find(path: &Path) -> io::Result<Option<OwnedFd>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = u64::try_from(fstatfs(file.as_fd())?.f_type).unwrap_or(0);
    Ok((kind == NAMESPACE_FILE_SYSTEM).then(|| file.into()))
}

/// Keeps the calling thread's namespace.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    File::create(path)?;
    mount_bind(OWN_NAMESPACE, path).map_err(io::Error::from)
}

/// Lets go of it; fine if there is nothing.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match unmount(path, UnmountFlags::DETACH) {
        // Not mounted, or not there.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
