//! By what fanotify(7) names a file: the file system and the file's handle there.

use std::fs::File;
use std::io;

use virtiofsd::oslib::{CFileHandle, name_to_handle_at};

/// linux/fcntl.h, since Linux 6.5: a handle to compare, which more file systems have.
const AT_HANDLE_FID: i32 = 0x200;

/// The bytes of a `__kernel_fsid_t` and a `file_handle`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(Vec<u8>);

impl Identity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut handle = CFileHandle::default();
        let mut named = |flags| name_to_handle_at(file, c"", &mut handle, &mut 0, flags);
        named(libc::AT_EMPTY_PATH | AT_HANDLE_FID).or_else(|_| named(libc::AT_EMPTY_PATH))?;
        let system = rustix::fs::fstatvfs(file)?.f_fsid;
        Ok(Self::new(&system.to_ne_bytes(), handle.handle_type(), handle.as_bytes()))
    }

    pub(super) fn new(system: &[u8; 8], kind: i32, handle: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(system.len() + size_of::<i32>() + handle.len());
        bytes.extend(system);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(handle);
        Self(bytes)
    }
}
