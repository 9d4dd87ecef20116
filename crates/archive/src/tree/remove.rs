//! What is in a directory, no more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, OFlags, unlinkat};
use rustix::io::Errno;

use super::error::text;
use super::pack::MAXIMUM_DEPTH;
use super::{TreeError, open_child};

/// A copy that was given up for its depth is removed.
const DEEPEST: usize = MAXIMUM_DEPTH + 16;

/// Removes a name of a directory, and everything below it, as far as that is no more than `most` entries: somebody
/// may add to it all the time. No link is followed. That there is no such name is well.
///
/// # Errors
/// [`TreeError::Remove`], and [`TreeError::TooMuch`] of what is too deep as well; what was removed before is gone.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8], most: usize) -> Result<(), TreeError> {
    let failed = |path: &[u8]| {
        let path = text(path);
        move |source| TreeError::Remove { path, source }
    };
    let Some(top) = unlink(parent, name).map_err(failed(name))? else { return Ok(()) };
    let mut path = name.to_vec();
    let mut rest = most;
    let mut levels = vec![level(top, name).map_err(failed(name))?];
    while let Some(level) = levels.last_mut() {
        match level.entries.next() {
            Some(entry) => {
                let entry = entry.map_err(failed(&path))?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                rest = rest.checked_sub(1).ok_or_else(|| TreeError::TooMuch { path: text(&path) })?;
                let Some(child) = unlink(level.directory.as_fd(), name).map_err(failed(&path))? else {
                    continue;
                };
                if levels.len() == DEEPEST {
                    return Err(TreeError::TooMuch { path: text(&path) });
                }
                path.push(b'/');
                path.extend_from_slice(name);
                levels.push(self::level(child, name).map_err(failed(&path))?);
            }
            None => {
                let Some(left) = levels.pop() else { break };
                let above = levels.last().map_or(parent, |level| level.directory.as_fd());
                match unlinkat(above, left.name.as_slice(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(source) => return Err(failed(&path)(source)),
                }
                path.truncate(path.len().saturating_sub(left.name.len() + 1));
            }
        }
    }
    Ok(())
}

struct Level {
    directory: OwnedFd,
    entries: Dir,
    name: Vec<u8>,
}

fn level(directory: OwnedFd, name: &[u8]) -> Result<Level, Errno> {
    let entries = Dir::read_from(&directory)?;
    Ok(Level { directory, entries, name: name.to_vec() })
}

/// Removes a name; returns what it is if that is a directory.
fn unlink(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        // POSIX lets unlink(2) of a directory fail with either number.
        Err(Errno::ISDIR | Errno::PERM) => {
            open_child(parent, name, OFlags::RDONLY | OFlags::DIRECTORY).map(Some)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_links_lead_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("top/a/b/c")).unwrap();
        fs::create_dir(path("kept")).unwrap();
        for number in 0..3000 {
            fs::write(path(&format!("top/a/{number}")), "").unwrap();
        }
        fs::write(path("kept/file"), "").unwrap();
        symlink("../../kept", path("top/a/link")).unwrap();
        let directory: OwnedFd = fs::File::open(folder.path()).unwrap().into();
        remove(directory.as_fd(), b"top", 4000).unwrap();
        assert!(!path("top").exists() && path("kept/file").exists());
        remove(directory.as_fd(), b"top", 4000).unwrap();
        symlink("kept", path("link")).unwrap();
        remove(directory.as_fd(), b"link", 0).unwrap();
        assert!(path("kept/file").exists() && path("link").symlink_metadata().is_err());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let directory: OwnedFd = fs::File::open(folder.path()).unwrap().into();
        fs::create_dir(folder.path().join("wide")).unwrap();
        for number in 0..10 {
            fs::write(folder.path().join(format!("wide/{number}")), "").unwrap();
        }
        let refused = remove(directory.as_fd(), b"wide", 9);
        assert!(matches!(&refused, Err(TreeError::TooMuch { path }) if path == "wide"), "{refused:?}");
        assert_eq!(fs::read_dir(folder.path().join("wide")).unwrap().count(), 1);
        remove(directory.as_fd(), b"wide", 9).unwrap();
        // Two for each level.
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = limit.maximum;
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        let mut level: OwnedFd = fs::File::open(folder.path().join("deep")).unwrap().into();
        for _ in 0..DEEPEST {
            rustix::fs::mkdirat(&level, "d", rustix::fs::Mode::RWXU).unwrap();
            level = open_child(level.as_fd(), b"d", OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        }
        let refused = remove(directory.as_fd(), b"deep", 10 * DEEPEST);
        assert!(matches!(refused, Err(TreeError::TooMuch { .. })), "{refused:?}");
    }
}
