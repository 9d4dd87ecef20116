//! What is in a directory, no more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, OFlags, unlinkat};
use rustix::io::Errno;

use super::error::text;
use super::pack::MAXIMUM_DEPTH;
use super::{TreeError, open_child};

/// A copy that was given up for its depth is removed.
const DEEPEST: usize = MAXIMUM_DEPTH + 16;

/// Removes a name of a directory, and everything below it. No link is followed. That there is no such name is
/// well.
///
/// # Errors
/// [`TreeError`]; what was removed before is gone.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), TreeError> {
    let failed = |path: &[u8]| {
        let path = text(path);
        move |source| TreeError::Remove { path, source }
    };
    let Some(top) = unlink(parent, name).map_err(failed(name))? else { return Ok(()) };
    let mut path = name.to_vec();
    let mut levels = vec![level(top, name).map_err(failed(name))?];
    while let Some(level) = levels.last_mut() {
        match level.entries.next() {
            Some(entry) => {
                let entry = entry.map_err(failed(&path))?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                let Some(child) = unlink(level.directory.as_fd(), name).map_err(failed(&path))? else {
                    continue;
                };
                if levels.len() == DEEPEST {
                    return Err(TreeError::TooDeep { path: text(&path), limit: DEEPEST });
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
        remove(directory.as_fd(), b"top").unwrap();
        assert!(!path("top").exists() && path("kept/file").exists());
        remove(directory.as_fd(), b"top").unwrap();
        symlink("kept", path("link")).unwrap();
        remove(directory.as_fd(), b"link").unwrap();
        assert!(path("kept/file").exists() && path("link").symlink_metadata().is_err());
    }
}
