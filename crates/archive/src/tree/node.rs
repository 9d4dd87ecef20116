//! Creating one name in a directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown,
    fstat, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::destination::{occupied, spare_special};
use super::error::text;
use super::{ExtractOptions, Links, TreeError, attributes, open_child};
use crate::tar::{Entry, Kind};

/// Makes a directory that only its owner may use until [`set_attributes`]; one that exists is taken.
pub(super) fn make_directory(
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    links: Links,
) -> Result<OwnedFd, TreeError> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(source) => return Err(TreeError::Create { path: text(shown), source }),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = match links {
        Links::Refuse => open_child(parent, name, flags),
        Links::FollowInside => {
            openat2(parent, name, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        }
    };
    opened.map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP | Errno::NOENT => occupied(shown, false),
        source => TreeError::Create { path: text(shown), source },
    })
}

/// Makes an empty file in place of whatever is there and is no directory.
pub(super) fn make_file(
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    options: ExtractOptions,
) -> Result<OwnedFd, TreeError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
    let error = |source| TreeError::Create { path: text(shown), source };
    match create() {
        Err(Errno::EXIST) => {}
        result => return result.map_err(error),
    }
    check_replaceable(parent, name, shown, options)?;
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => create().map_err(error),
        // Something is mounted on it, /etc/hosts for one: it can be filled anew but not replaced.
        Err(Errno::BUSY) => {
            let flags =
                OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = openat(parent, name, flags, Mode::empty()).map_err(error)?;
            let status = fstat(&file).map_err(error)?;
            if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
                return Err(error(Errno::BUSY));
            }
            rustix::fs::ftruncate(&file, 0).map_err(error)?;
            Ok(file)
        }
        Err(source) => Err(refused(parent, name, shown, source)),
    }
}

/// Makes a symbolic link, a device or a named pipe in place of whatever is there and is no directory.
pub(super) fn make_other(
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    entry: &Entry,
    options: ExtractOptions,
) -> Result<(), TreeError> {
    let mode = Mode::from_raw_mode(u32::from(entry.permissions));
    let (major, minor) = entry.device;
    let make = || match entry.kind {
        Kind::CharacterDevice => {
            mknodat(parent, name, FileType::CharacterDevice, mode, makedev(major, minor))
        }
        Kind::BlockDevice => mknodat(parent, name, FileType::BlockDevice, mode, makedev(major, minor)),
        Kind::Fifo => mknodat(parent, name, FileType::Fifo, mode, 0),
        _ => symlinkat(entry.link_target.as_slice(), parent, name),
    };
    replace(parent, name, shown, options, make)?;
    let error = |source| TreeError::Attributes { path: text(shown), source };
    if options.keep_owner {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(error)?;
    }
    utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(error)
}

/// Gives an extracted file a further name.
pub(super) fn make_link(
    target: (BorrowedFd<'_>, &[u8]),
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    options: ExtractOptions,
) -> Result<(), TreeError> {
    replace(parent, name, shown, options, || linkat(target.0, target.1, parent, name, AtFlags::empty()))
}

fn replace(
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    options: ExtractOptions,
    make: impl Fn() -> Result<(), Errno>,
) -> Result<(), TreeError> {
    match make() {
        Err(Errno::EXIST) => {
            check_replaceable(parent, name, shown, options)?;
            match unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => make(),
                Err(error) => return Err(refused(parent, name, shown, error)),
            }
        }
        result => result,
    }
    .map_err(|source| TreeError::Create { path: text(shown), source })
}

fn check_replaceable(
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    options: ExtractOptions,
) -> Result<(), TreeError> {
    if options.special_files {
        return Ok(());
    }
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => spare_special(&status, shown),
        // Gone meanwhile.
        Err(_) => Ok(()),
    }
}

/// POSIX lets unlink(2) of a directory fail with either number.
fn refused(parent: BorrowedFd<'_>, name: &[u8], shown: &[u8], source: Errno) -> TreeError {
    let is_directory = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory);
    if is_directory { occupied(shown, true) } else { TreeError::Create { path: text(shown), source } }
}

/// Owner first, for a change of it clears set-id bits and capabilities.
pub(super) fn set_attributes(
    file: &OwnedFd,
    entry: &Entry,
    shown: &[u8],
    options: ExtractOptions,
) -> Result<(), TreeError> {
    let set = || -> Result<(), Errno> {
        if options.keep_owner {
            fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
        }
        // Set-id bits are a promise about an owner; whoever becomes the owner instead has not given it.
        let kept = if options.keep_owner { 0o7777 } else { 0o1777 };
        fchmod(file, Mode::from_raw_mode(u32::from(entry.permissions) & kept))?;
        attributes::write(file.as_fd(), &entry.attributes, options.user_attributes_only)?;
        futimens(file, &times(entry))
    };
    set().map_err(|source| TreeError::Attributes { path: text(shown), source })
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.modified_seconds, tv_nsec: i64::from(entry.modified_nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}
