//! Extended attributes.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
const MAXIMUM_BYTES: usize = 64 * 1024;

/// Those that mean the same elsewhere; labels of security modules and what file systems keep for
/// themselves do not.
fn is_portable(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}

/// Reads those of an open file or directory.
pub(super) fn read(file: BorrowedFd<'_>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let mut names = Vec::with_capacity(1024);
    match list(file, &mut names) {
        Ok(()) => {}
        Err(Errno::NOTSUP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    }
    let mut attributes = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| is_portable(name)) {
        let mut value = Vec::with_capacity(256);
        match get(file, name, &mut value) {
            Ok(()) => drop(attributes.insert(name.to_vec(), value)),
            // Removed meanwhile, or an ACL that is not set.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(attributes)
}

fn list(file: BorrowedFd<'_>, names: &mut Vec<u8>) -> Result<(), Errno> {
    match flistxattr(file, spare_capacity(names)) {
        Err(Errno::RANGE) => {
            names.reserve_exact(MAXIMUM_BYTES);
            flistxattr(file, spare_capacity(names)).map(drop)
        }
        result => result.map(drop),
    }
}

fn get(file: BorrowedFd<'_>, name: &[u8], value: &mut Vec<u8>) -> Result<(), Errno> {
    match fgetxattr(file, name, spare_capacity(value)) {
        Err(Errno::RANGE) => {
            value.reserve_exact(MAXIMUM_BYTES);
            fgetxattr(file, name, spare_capacity(value)).map(drop)
        }
        result => result.map(drop),
    }
}

/// Sets those of an archive: `user.` ones only, unless all that are portable may be.
pub(super) fn write(
    file: BorrowedFd<'_>,
    attributes: &BTreeMap<Vec<u8>, Vec<u8>>,
    user_only: bool,
) -> Result<(), Errno> {
    for (name, value) in attributes {
        if !is_portable(name) || (user_only && !name.starts_with(b"user.")) {
            continue;
        }
        match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            // The file system has none: tmpfs of older kernels, NFS.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
