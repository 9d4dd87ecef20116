//! How the container's root differs from its image: what the overlay's writable directory holds, beside
//! what the image has (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_archive::tree::{is_opaque, is_whiteout};
use bulkhead_guest_protocol::frame;
use bulkhead_guest_protocol::messages::Change;
use bulkhead_guest_protocol::messages::change::Kind;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat2, statat};
use rustix::io::Errno;

use super::BuiltInError;

/// As deep as the stack of this process allows with ease.
const MAXIMUM_DEPTH: usize = 1024;
/// Where files and directories are made for mounts to stand on: no doing of the container's.
pub(super) const MOUNT_POINTS: [&[u8]; 6] =
    [b"/etc/hosts", b"/etc/hostname", b"/etc/resolv.conf", b"/proc", b"/sys", b"/dev"];

/// Writes the changes in the order of their paths, a directory before what is in it.
pub(super) fn list(
    upper: BorrowedFd<'_>,
    image: BorrowedFd<'_>,
    output: &mut impl Write,
) -> Result<(), BuiltInError> {
    let upper = open_directory(upper, b".").map_err(|source| read_error(b"/", source))?;
    let image = open_directory(image, b".").map_err(|source| read_error(b"/", source))?;
    let mut changes = Vec::new();
    walk(&upper, Some(&image), false, &mut Vec::new(), 0, &mut changes)?;
    for change in changes {
        frame::write(output, &change).map_err(BuiltInError::Output)?;
    }
    output.flush().map_err(|error| BuiltInError::Output(frame::FrameError::Transfer(error)))
}

fn walk(
    upper: &OwnedFd,
    image: Option<&OwnedFd>,
    is_hidden: bool,
    path: &mut Vec<u8>,
    depth: usize,
    changes: &mut Vec<Change>,
) -> Result<(), BuiltInError> {
    let names = names(upper).map_err(|source| read_error(path, source))?;
    // In a directory that hides the image's, none need say so again.
    let is_hidden = is_hidden || is_opaque(upper.as_fd());
    let mut hidden = BTreeSet::new();
    if let Some(image) = image.filter(|_| is_hidden) {
        hidden = self::names(image).map_err(|source| read_error(path, source))?;
    }
    let length = path.len();
    for name in names.union(&hidden) {
        path.truncate(length);
        path.push(b'/');
        path.extend_from_slice(name);
        let before = image.and_then(|image| status(image, name));
        let after = if names.contains(name) { status(upper, name) } else { None };
        let kind = match (&before, &after) {
            (None, None) => continue,
            (Some(_), None) => Kind::Deleted,
            (None, Some(after)) if is_whiteout(after) => continue,
            (Some(_), Some(after)) if is_whiteout(after) => Kind::Deleted,
            (None, Some(_)) => Kind::Added,
            (Some(_), Some(_)) => Kind::Changed,
        };
        let position = changes.len();
        changes.push(Change { kind: kind.into(), path: path.clone() });
        let Some(after) = after.filter(|_| kind != Kind::Deleted) else { continue };
        if is_directory(&after) {
            if depth == MAXIMUM_DEPTH {
                return Err(read_error(path, Errno::NAMETOOLONG));
            }
            let error = |source| read_error(path, source);
            let directory = open_directory(upper.as_fd(), name).map_err(error)?;
            let image = match (&before, image) {
                (Some(before), Some(image)) if is_directory(before) => {
                    Some(open_directory(image.as_fd(), name).map_err(error)?)
                }
                _ => None,
            };
            walk(&directory, image.as_ref(), is_hidden, path, depth + 1, changes)?;
            path.truncate(length + 1 + name.len());
        }
        let is_bare = changes.len() == position + 1;
        let unchanged = before.is_some_and(|before| is_directory(&before) && is_like(&before, &after));
        let mount_point = kind == Kind::Added
            && MOUNT_POINTS.contains(&path.as_slice())
            && (is_directory(&after) || after.st_size == 0);
        // Copied up for something that came and went in it, or made for a mount.
        if is_bare && (unchanged || mount_point) {
            changes.truncate(position);
        }
    }
    path.truncate(length);
    Ok(())
}

fn names(directory: &OwnedFd) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    for item in Dir::read_from(directory)? {
        let item = item?;
        let name = item.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.insert(name.to_vec());
        }
    }
    Ok(names)
}

fn status(directory: &OwnedFd, name: &[u8]) -> Option<Stat> {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(parent, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn is_directory(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn is_like(before: &Stat, after: &Stat) -> bool {
    (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
}

fn read_error(path: &[u8], source: Errno) -> BuiltInError {
    BuiltInError::Read { path: String::from_utf8_lossy(path).into_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn listed(folder: &std::path::Path) -> Vec<String> {
        let open = |name: &str| -> OwnedFd { fs::File::open(folder.join(name)).unwrap().into() };
        let mut output = Vec::new();
        list(open("upper").as_fd(), open("image").as_fd(), &mut output).unwrap();
        let mut input = output.as_slice();
        std::iter::from_fn(|| frame::read::<Change>(&mut input).unwrap())
            .map(|change| format!("{:?} {}", change.kind(), String::from_utf8_lossy(&change.path)))
            .collect()
    }

    #[test]
    fn additions_and_changes_are_told_apart() {
        let folder = std::env::temp_dir().join(format!("vminitd-changes-{}", std::process::id()));
        for directory in ["image/etc/quiet", "image/usr", "upper/etc/quiet", "upper/new/deep", "upper/proc"] {
            fs::create_dir_all(folder.join(directory)).unwrap();
        }
        fs::write(folder.join("image/etc/passwd"), "a").unwrap();
        fs::write(folder.join("upper/etc/passwd"), "b").unwrap();
        fs::write(folder.join("upper/etc/hosts"), "").unwrap();
        fs::write(folder.join("upper/new/deep/file"), "").unwrap();
        let expected =
            ["Changed /etc", "Changed /etc/passwd", "Added /new", "Added /new/deep", "Added /new/deep/file"];
        assert_eq!(listed(&folder), expected);
        fs::write(folder.join("upper/etc/hosts"), "mine").unwrap();
        assert!(listed(&folder).contains(&"Added /etc/hosts".to_owned()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
