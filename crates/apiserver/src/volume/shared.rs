//! The directory of a shared volume. What is in it was written by guests: links are never followed,
//! and no path is longer than the kernel takes at once.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

use super::format::{self, FormatError};
use crate::as_owner;
use crate::disk_usage::STAT_BLOCK_BYTES;

/// Mode of the root of a new file system.
const MODE: u32 = 0o755;
/// Bounds of a count: the time of about ten seconds, and memory.
const MAX_ENTRIES: u64 = 4_000_000;
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Makes an empty directory that survives a power cut, in one that only we may enter: programs in it
/// may have rights that are the guest's to give, and not of the host's users to take.
pub(super) fn create(path: &Path) -> Result<(), FormatError> {
    let (directory, volumes) = format::make_directory_of(path)?;
    let made = DirBuilder::new().mode(MODE).create(path).and_then(|()| {
        // Whatever the services' umask takes away: it is the root of a file system.
        std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
        [path, directory, volumes].into_iter().try_for_each(|path| File::open(path)?.sync_all())
    });
    made.map_err(|source| {
        // Empty, and of no use.
        let _ = std::fs::remove_dir_all(directory);
        FormatError::Create { path: path.to_owned(), source }
    })
}

/// What is below takes so much. Deeper than `PATH_MAX` nothing is counted, and of trees beyond all reason only what
/// was found first: a guest decides what is there.
pub(crate) fn occupied_bytes(path: &Path) -> u64 {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut count = Count::new(MAX_ENTRIES, MAX_WAITING_BYTES);
    let root = match openat(CWD, path, flags, Mode::empty()) {
        Ok(root) => root,
        Err(error) => return as_owner_if_denied(path, &error.into()).unwrap_or(0),
    };
    let whole = path;
    while let Some(path) = count.directories.pop() {
        count.waiting_bytes -= path.len();
        // It may have been removed meanwhile, or the guest may have made it too deep.
        match count.add(&root, &path) {
            Ok(()) if count.is_full() => {
                tracing::warn!("'{}' holds more than can be counted", String::from_utf8_lossy(&path));
                break;
            }
            Ok(()) => {}
            Err(error) => {
                if let Some(bytes) = as_owner_if_denied(whole, &error) {
                    return bytes;
                }
            }
        }
    }
    count.bytes
}

/// Counts again what the user may not see by himself; nothing if that is not why it failed.
fn as_owner_if_denied(path: &Path, error: &io::Error) -> Option<u64> {
    as_owner::helps(error)
        .then(|| as_owner::measure(path))?
        .inspect_err(|error| {
            tracing::warn!("cannot count what is in '{}': {error}", path.display());
        })
        .ok()
}

struct Count {
    max_entries: u64,
    max_waiting_bytes: usize,
    bytes: u64,
    entries: u64,
    /// Inodes with several names, which are counted once.
    linked: HashSet<u64>,
    /// Directories to be seen, and what their paths take.
    directories: Vec<Vec<u8>>,
    waiting_bytes: usize,
}

impl Count {
    fn new(max_entries: u64, max_waiting_bytes: usize) -> Self {
        Self {
            max_entries,
            max_waiting_bytes,
            bytes: 0,
            entries: 0,
            linked: HashSet::new(),
            directories: vec![Vec::new()],
            waiting_bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.entries > self.max_entries || self.waiting_bytes > self.max_waiting_bytes
    }

    /// Counts what is in one directory; the directories in it are to be seen.
    fn add(&mut self, root: &OwnedFd, path: &[u8]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let place = if path.is_empty() { b".".as_slice() } else { path };
        let directory = openat2(root, place, flags, Mode::empty(), beneath)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let status = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => status,
                // Read but not searched, as no directory is that its owner asks about.
                Err(Errno::ACCESS) => return Err(Errno::ACCESS.into()),
                Err(_) => continue,
            };
            self.entries += 1;
            let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
            if is_directory || status.st_nlink < 2 || self.linked.insert(status.st_ino) {
                let bytes = u64::try_from(status.st_blocks).unwrap_or(0) * STAT_BLOCK_BYTES;
                self.bytes = self.bytes.saturating_add(bytes);
            }
            if is_directory {
                let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                let below = [path, separator, name.to_bytes()].concat();
                self.waiting_bytes += below.len();
                self.directories.push(below);
            }
            if self.is_full() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn only_what_is_inside_counts_and_each_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let content = folder.path().join("volumes/v/content");
        create(&content).unwrap();
        assert!(create(&content).is_err(), "it is there already");
        assert_eq!(content.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::create_dir_all(content.join("a/b")).unwrap();
        std::fs::write(content.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(content.join("a/b/file"), content.join("again")).unwrap();
        symlink("/usr", content.join("usr")).unwrap();
        let bytes = occupied_bytes(&content);
        assert!(((1 << 20)..(1 << 20) + (64 << 10)).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_count_ends_where_paths_take_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let deep = ["d", "d", "d"].map(|part| part.repeat(250)).join("/");
        for number in 0..50 {
            std::fs::create_dir_all(folder.path().join(&deep).join(number.to_string())).unwrap();
        }
        let root = openat(CWD, folder.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for (max_entries, max_waiting_bytes, counted) in
            [(1000, 10_000, 14), (9, 100_000, 10), (50, 100_000, 50)]
        {
            let mut count = Count::new(max_entries, max_waiting_bytes);
            count.directories.clear();
            count.add(&root, deep.as_bytes()).unwrap();
            assert_eq!((count.directories.len(), count.entries), (counted, counted as u64));
            assert_eq!(count.is_full(), counted < 50);
        }
        assert!(occupied_bytes(folder.path()) > 0);
    }
}
