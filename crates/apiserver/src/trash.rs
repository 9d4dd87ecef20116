//! Directories on their way out: out of the way at once, so that their names are free, and unlinked
//! in the background.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::as_owner;

/// Begins the names of such directories; no name of ours begins with a dot.
const PREFIX: &str = ".trash-";

/// Whether a removal was interrupted that left this name.
pub(crate) fn is_trash(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Frees the name in `parent`; the handle tells when the contents are gone, too. A directory that is
/// not there is no error.
///
/// # Errors
/// It cannot be renamed.
pub(crate) fn discard(parent: &Path, name: &str) -> io::Result<JoinHandle<()>> {
    let trash = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
    match std::fs::rename(parent.join(name), &trash) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(tokio::task::spawn_blocking(move || unlink(&trash)))
}

/// Removes a directory of ours; what cannot be removed now is swept at the next start.
pub(crate) fn unlink(path: &Path) {
    let removed = remove_tree(path).or_else(|error| match as_owner::helps(&error) {
        true => as_owner::remove(path),
        false => Err(error),
    });
    match removed {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("cannot remove '{}': {error}", path.display()),
    }
}

/// As `remove_dir_all()`, but for trees of any depth: a guest may have made one in a shared volume that
/// no stack can follow. What is deeper moves up to the top before its turn comes.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(CWD, path, flags, Mode::empty())?;
    // Begins names that nothing at the top has.
    let prefix = uuid::Uuid::new_v4().simple().to_string();
    let mut last = empty(&top, &top, &prefix, 0)?;
    let mut next = 0;
    while next < last {
        next += 1;
        let name = moved(&prefix, next);
        let directory = openat(&top, &name, flags, Mode::empty())?;
        last = empty(&directory, &top, &prefix, last)?;
        drop(directory);
        unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
    }
    std::fs::remove_dir(path)
}

fn moved(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number}")
}

/// Empties a directory; directories in it move to `top`, with the numbers after `last`. Returns the last number.
/// Nothing is remembered of what is there: a guest decides how much that is.
fn empty(directory: &OwnedFd, top: &OwnedFd, prefix: &str, mut last: u64) -> io::Result<u64> {
    loop {
        let mut found = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes().starts_with(prefix.as_bytes()) {
                continue;
            }
            found = true;
            match unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // POSIX has PERM for directories, Linux ISDIR.
                Err(Errno::ISDIR | Errno::PERM) => {
                    last += 1;
                    renameat(directory, name, top, moved(prefix, last))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // Names may be passed over while others go (readdir(3)).
        if !found {
            return Ok(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn f94_trees_of_any_depth_go_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "precious").unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("wide/er")).unwrap();
        symlink(&kept, tree.join("link")).unwrap();
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory = openat(CWD, &tree, flags, Mode::empty()).unwrap();
        for _ in 0..4000 {
            mkdirat(&directory, "d", Mode::RWXU).unwrap();
            directory = openat(&directory, "d", flags, Mode::empty()).unwrap();
            symlink(&kept, format!("/proc/self/fd/{}/link", directory.as_raw_fd())).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(std::fs::read_to_string(kept.join("file")).unwrap(), "precious");
        assert_eq!(remove_tree(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
