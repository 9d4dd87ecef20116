//! The mounts of a container that does not run, for work on its files.
//!
//! Volumes and folders are as the container has them. Its memory is there and empty, and over what is not there
//! at all is something empty. Others may be mounted below these, so they can be written until everything is in
//! its place, and never after.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_guest_protocol::messages::CoveredPath;
use rustix::fs::{Mode, OFlags, fstatfs, openat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::container::{ContainerError, attach, attach_prepared, kind_of, set_attributes};
use super::made_places::MadePlaces;
use crate::mount_points::{self, Kind};
use crate::mounts::{FileSystem, MountSource, PreparedMount};

/// linux/magic.h, TMPFS_MAGIC
const MEMORY: i64 = 0x0102_1994;

/// Mounts everything. `made` gets what is to be removed after the work, or after a failure.
pub(crate) fn attach_all(
    mounts: &[PreparedMount],
    covered: &[CoveredPath],
    made: &mut MadePlaces<'_>,
) -> Result<(), ContainerError> {
    let mut places: Vec<Place<'_>> =
        mounts.iter().map(Place::Mount).chain(covered.iter().map(Place::Covered)).collect();
    // Parents first; what is equally deep stays in its order.
    places.sort_by_key(|place| depth(place.destination()));
    let mut covers = Vec::new();
    for place in places {
        match place {
            Place::Mount(prepared) => attach_prepared(prepared)?,
            Place::Covered(path) => {
                let cover = cover(path, made)
                    .map_err(|source| ContainerError::Mask { path: path.path.clone(), source })?;
                covers.extend(cover.map(|cover| (cover, &path.path)));
            }
        }
    }
    let memory = mounts.iter().filter_map(|prepared| match &prepared.source {
        MountSource::Tree(tree) if is_memory(tree) => Some((tree, &prepared.destination)),
        _ => None,
    });
    for (tree, path) in memory.chain(covers.iter().map(|(cover, path)| (cover, *path))) {
        seal(tree.as_fd()).map_err(|source| ContainerError::ReadOnly { path: path.clone(), source })?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Mount(&'a PreparedMount),
    Covered(&'a CoveredPath),
}

impl Place<'_> {
    fn destination(&self) -> &str {
        match self {
            Self::Mount(prepared) => &prepared.destination,
            Self::Covered(covered) => &covered.path,
        }
    }
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

fn is_memory(tree: &OwnedFd) -> bool {
    fstatfs(tree).is_ok_and(|status| status.f_type == MEMORY)
}

/// Only this mount, not what is mounted below it.
fn seal(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    set_attributes(tree, c"", 0, MountAttrFlags::MOUNT_ATTR_RDONLY, 0)
}

/// Something empty over what is there, or what belongs there. `None` where nothing is and nothing can come.
fn cover(covered: &CoveredPath, made: &mut MadePlaces<'_>) -> Result<Option<OwnedFd>, Errno> {
    let kind = match mount_points::open(&covered.path) {
        Ok(place) => kind_of(&place),
        Err(Errno::NOENT) => {
            let kind = if covered.is_directory { Kind::Directory } else { Kind::File };
            made.announce(&covered.path, kind);
            kind
        }
        // Below a file.
        Err(Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error),
    };
    let memory = FileSystem::open("tmpfs")
        .and_then(|tmpfs| tmpfs.mount(MountAttrFlags::empty()))
        .map_err(|_| Errno::NOMEM)?;
    let tree = match kind {
        Kind::Directory => memory,
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            openat(&memory, c"empty", flags, Mode::RUSR)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(&memory, c"empty", flags)?
        }
    };
    match attach(tree.as_fd(), &covered.path, || kind) {
        Ok(()) => Ok(Some(tree)),
        // In a volume that can only be read.
        Err(Errno::ROFS) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_from_disks() {
        let open = |path: &str| std::fs::File::open(path).unwrap().into();
        assert!(is_memory(&open("/dev/shm")));
        assert!(!is_memory(&open("/proc")));
    }
}
