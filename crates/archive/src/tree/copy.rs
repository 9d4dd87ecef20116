//! From one directory to another, without a stream in between.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    fchown, fstat, ftruncate, futimens, linkat, mkdirat, mknodat, openat, readlinkat, seek, sendfile, statat,
    symlinkat, utimensat,
};
use rustix::io::Errno;

use super::error::text;
use super::pack::MAXIMUM_DEPTH;
use super::{TreeError, attributes, open_child, sparse};
use crate::tar::Segment;

/// As much as one sendfile(2) moves.
const CHUNK_BYTES: u64 = 1 << 30;

/// What the target's file system can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that the source's can.
    Complete,
    /// Neither devices nor attributes that give rights, nor access lists that name users whom it does not
    /// know: they are left out.
    Plain,
}

/// Copies what `source` holds into `target`, an empty directory: files with their holes, links of both kinds,
/// devices and pipes, with owners, modes, times and attributes. Sockets are left out. File contents pass
/// through the kernel only.
///
/// The attributes of `source` itself are not copied; [`copy_attributes`] does that.
///
/// # Errors
/// [`TreeError`] with the path below `source`; what was copied before stays.
pub fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>, kind: Target) -> Result<(), TreeError> {
    let again = |directory: BorrowedFd<'_>| {
        let opened = open_child(directory, b".", OFlags::RDONLY | OFlags::DIRECTORY);
        opened.map_err(|source| TreeError::Open { path: ".".to_owned(), source })
    };
    Copier { root: target, kind, links: HashMap::new() }.descend(again(source)?, again(target)?)
}

/// Gives `target` owner, mode and attributes of `source`, another directory.
///
/// # Errors
/// [`TreeError::Attributes`]
pub fn copy_attributes(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    kind: Target,
) -> Result<(), TreeError> {
    let status = fstat(source).map_err(|source| TreeError::Read { path: ".".to_owned(), source })?;
    set_attributes(source, target, &status, b".", kind)
}

/// A directory that is being copied.
struct Level {
    source: OwnedFd,
    target: OwnedFd,
    entries: Dir,
    path_length: usize,
    status: Stat,
}

struct Copier<'a> {
    root: BorrowedFd<'a>,
    kind: Target,
    /// First path of every file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Copier<'_> {
    /// Not by recursion, and one entry at a time: depth and length are a stranger's.
    fn descend(&mut self, source: OwnedFd, target: OwnedFd) -> Result<(), TreeError> {
        let mut path = Vec::new();
        let mut levels = vec![level(source, target, &path)?];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_length);
            let Some(entry) = level.entries.next() else {
                let Some(Level { source, target, status, .. }) = levels.pop() else { break };
                if !levels.is_empty() {
                    set_attributes(source.as_fd(), target.as_fd(), &status, &path, self.kind)?;
                    set_times(&target, &status, &path)?;
                }
                continue;
            };
            let entry = entry.map_err(|source| TreeError::Read { path: text(&path), source })?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let child = self.child((level.source.as_fd(), level.target.as_fd()), name, &path)?;
            let Some((source, target)) = child else { continue };
            if levels.len() == MAXIMUM_DEPTH {
                return Err(TreeError::TooDeep { path: text(&path), limit: MAXIMUM_DEPTH });
            }
            levels.push(self::level(source, target, &path)?);
        }
        Ok(())
    }

    /// Copies one entry; returns it and its copy if it is a directory.
    fn child(
        &mut self,
        (source, target): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<(OwnedFd, OwnedFd)>, TreeError> {
        let read = |source| TreeError::Read { path: text(path), source };
        let create = |source| TreeError::Create { path: text(path), source };
        let status = statat(source, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT).map_err(read)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        let has_more_names = kind != FileType::Directory && status.st_nlink > 1;
        if has_more_names && self.link(&status, target, name).map_err(create)? {
            return Ok(None);
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let opened = open_child(source, name, flags).map_err(read)?;
                mkdirat(target, name, Mode::RWXU).map_err(create)?;
                return Ok(Some((opened, open_child(target, name, flags).map_err(create)?)));
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let opened = open_child(source, name, flags).map_err(read)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy = openat(target, name, flags, Mode::RUSR | Mode::WUSR).map_err(create)?;
                let segments = sparse::segments(opened.as_fd(), &status).map_err(read)?;
                write(&opened, &copy, &status, segments)
                    .map_err(|source| TreeError::Write { path: text(path), source })?;
                set_attributes(opened.as_fd(), copy.as_fd(), &status, path, self.kind)?;
                set_times(&copy, &status, path)?;
            }
            FileType::Symlink => {
                let aim = readlinkat(source, name, Vec::new()).map_err(read)?;
                symlinkat(aim.as_c_str(), target, name).map_err(create)?;
                set_owner_of_name(target, name, &status, path, self.kind)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice if self.kind == Target::Plain => {
                return Ok(None);
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
                mknodat(target, name, kind, mode, status.st_rdev).map_err(create)?;
                set_owner_of_name(target, name, &status, path, self.kind)?;
            }
            FileType::Socket | FileType::Unknown => return Ok(None),
        }
        if has_more_names {
            self.links.insert((status.st_dev, status.st_ino), path.to_vec());
        }
        Ok(None)
    }

    /// Whether it was enough to give a copy a further name.
    fn link(&self, status: &Stat, target: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
        let Some(first) = self.links.get(&(status.st_dev, status.st_ino)) else { return Ok(false) };
        match linkat(self.root, first.as_slice(), target, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            // Too deep to be named from the top, or the target's file system has fewer links: a copy will do.
            Err(Errno::NAMETOOLONG | Errno::MLINK) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn level(source: OwnedFd, target: OwnedFd, path: &[u8]) -> Result<Level, TreeError> {
    let read = |source| TreeError::Read { path: text(path), source };
    let entries = Dir::read_from(&source).map_err(read)?;
    let status = fstat(&source).map_err(read)?;
    Ok(Level { source, target, entries, path_length: path.len(), status })
}

/// Data from file to file by the kernel; holes stay holes.
fn write(
    source: &OwnedFd,
    target: &OwnedFd,
    status: &Stat,
    segments: Option<Vec<Segment>>,
) -> Result<(), Errno> {
    let size_bytes = u64::try_from(status.st_size).unwrap_or(0);
    let sparse = segments.is_some();
    let whole = vec![Segment { offset_bytes: 0, length_bytes: size_bytes }];
    for segment in segments.unwrap_or(whole) {
        if sparse {
            seek(target, SeekFrom::Start(segment.offset_bytes))?;
        }
        let mut offset = segment.offset_bytes;
        let end = segment.offset_bytes + segment.length_bytes;
        while offset < end {
            let count = usize::try_from((end - offset).min(CHUNK_BYTES)).unwrap_or(usize::MAX);
            match sendfile(target, source, Some(&mut offset), count) {
                // It shrank.
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if sparse { ftruncate(target, size_bytes) } else { Ok(()) }
}

/// Tells whether the owner is that of the source. Where files go to a plain file system there may be nobody of that
/// number: it is of a user namespace, perhaps, and beyond its end the file stays its maker's.
fn set_owner(
    kind: Target,
    status: &Stat,
    change: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let (user, group) = (Some(Uid::from_raw(status.st_uid)), Some(Gid::from_raw(status.st_gid)));
    match change(user, group) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) if kind == Target::Plain => {
            for (user, group) in [(user, None), (None, group)] {
                match change(user, group) {
                    Ok(()) | Err(Errno::INVAL) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Owner first, for a change of it clears set-id bits and capabilities.
fn set_attributes(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    status: &Stat,
    path: &[u8],
    kind: Target,
) -> Result<(), TreeError> {
    let attributes =
        attributes::read(source).map_err(|source| TreeError::Read { path: text(path), source })?;
    let set = || -> Result<(), Errno> {
        // Nobody is to get the rights of another user than the image meant.
        let bits =
            if set_owner(kind, status, |user, group| fchown(target, user, group))? { 0o7777 } else { 0o1777 };
        fchmod(target, Mode::from_raw_mode(status.st_mode & bits))?;
        attributes::write(target, &attributes, kind == Target::Plain)?;
        if kind == Target::Plain { set_access_lists(target, attributes) } else { Ok(()) }
    };
    set().map_err(|source| TreeError::Attributes { path: text(path), source })
}

/// As far as the target knows the users in them.
fn set_access_lists(target: BorrowedFd<'_>, mut attributes: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Errno> {
    attributes.retain(|name, _| name.starts_with(b"system."));
    match attributes::write(target, &attributes, false) {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        result => result,
    }
}

fn set_owner_of_name(
    target: BorrowedFd<'_>,
    name: &[u8],
    status: &Stat,
    path: &[u8],
    kind: Target,
) -> Result<(), TreeError> {
    set_owner(kind, status, |user, group| chownat(target, name, user, group, AtFlags::SYMLINK_NOFOLLOW))
        .and_then(|_| utimensat(target, name, &times(status), AtFlags::SYMLINK_NOFOLLOW))
        .map_err(|source| TreeError::Attributes { path: text(path), source })
}

fn set_times(target: &OwnedFd, status: &Stat, path: &[u8]) -> Result<(), TreeError> {
    futimens(target, &times(status)).map_err(|source| TreeError::Attributes { path: text(path), source })
}

fn times(status: &Stat) -> Timestamps {
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: status.st_atime, tv_nsec: nanoseconds(status.st_atime_nsec) },
        last_modification: Timespec { tv_sec: status.st_mtime, tv_nsec: nanoseconds(status.st_mtime_nsec) },
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn a_copy_has_all_that_the_tree_has() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        fs::create_dir_all(source.join("deep/deeper")).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(source.join("deep/file"), vec![7; 300_000]).unwrap();
        fs::hard_link(source.join("deep/file"), source.join("same")).unwrap();
        symlink("deep/file", source.join("link")).unwrap();
        let sparse = File::create(source.join("sparse")).unwrap();
        sparse.set_len(1 << 34).unwrap();
        sparse.write_all_at(b"middle", 1 << 33).unwrap();
        mknodat(open(&source), "pipe", FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        fs::set_permissions(source.join("deep"), fs::Permissions::from_mode(0o2750)).unwrap();
        let past = Timestamps {
            last_access: Timespec { tv_sec: 1, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 },
        };
        futimens(File::open(source.join("deep")).unwrap(), &past).unwrap();

        copy(open(&source).as_fd(), open(&target).as_fd(), Target::Complete).unwrap();
        assert_eq!(fs::read(target.join("deep/file")).unwrap(), vec![7; 300_000]);
        let metadata = |name: &str| fs::symlink_metadata(target.join(name)).unwrap();
        assert_eq!((metadata("same").ino(), metadata("same").nlink()), (metadata("deep/file").ino(), 2));
        assert_eq!(fs::read_link(target.join("link")).unwrap().to_str(), Some("deep/file"));
        assert_eq!(metadata("sparse").len(), 1 << 34);
        assert!(metadata("sparse").blocks() < 2048, "{} blocks", metadata("sparse").blocks());
        let mut middle = [0; 6];
        File::open(target.join("sparse")).unwrap().read_exact_at(&mut middle, 1 << 33).unwrap();
        assert_eq!(&middle, b"middle");
        assert_eq!(FileType::from_raw_mode(metadata("pipe").mode()), FileType::Fifo);
        assert_eq!(metadata("deep").mode() & 0o7777, 0o2750);
        assert_eq!((metadata("deep").mtime(), metadata("deep").mtime_nsec()), (1_000_000_000, 5));
        assert!(metadata("deep/deeper").is_dir());
    }

    #[test]
    fn owners_whom_a_plain_target_cannot_have_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut status = fstat(open(folder.path())).unwrap();
        (status.st_uid, status.st_gid) = (100_000, 44);
        let asked = std::cell::RefCell::new(Vec::new());
        let change = |user: Option<Uid>, group: Option<Gid>| {
            asked.borrow_mut().push((user.map(Uid::as_raw), group.map(Gid::as_raw)));
            if user.is_some() { Err(Errno::INVAL) } else { Ok(()) }
        };
        assert_eq!(set_owner(Target::Plain, &status, change), Ok(false));
        let expected = [(Some(100_000), Some(44)), (Some(100_000), None), (None, Some(44))];
        assert_eq!(asked.take(), expected);
        assert_eq!(set_owner(Target::Complete, &status, change), Err(Errno::INVAL));
        assert_eq!(set_owner(Target::Plain, &status, |_, _| Err(Errno::IO)), Err(Errno::IO));
        assert_eq!(set_owner(Target::Plain, &status, |_, _| Ok(())), Ok(true));
    }

    #[test]
    fn the_top_is_copied_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o1711)).unwrap();
        copy(open(&source).as_fd(), open(&target).as_fd(), Target::Plain).unwrap();
        assert_ne!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o1711);
        copy_attributes(open(&source).as_fd(), open(&target).as_fd(), Target::Plain).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o1711);
    }
}
