//! Looking up what of the host is to be shared, past what a guest may have changed.
//!
//! A container that is started again may have replaced a file in one of its folders by a symbolic link. Followed, it
//! would lead the host to whatever the guest likes: openat2(2) cannot tell such links from those of the host's own,
//! so the path is walked name by name.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bulkhead_runtime_control::SharedFolder;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};

/// `MAXSYMLINKS` of Linux.
const MAXIMUM_LINKS: usize = 40;

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Source {
    /// As O_PATH; no symbolic link.
    pub(crate) file: OwnedFd,
    /// Where its name is.
    pub(crate) directory: OwnedFd,
    /// Its name there, unless the path ends in `..` or is the root.
    pub(crate) name: Option<OsString>,
    /// Whether the guest may give that name to something else.
    pub(crate) is_in_guests_hands: bool,
}

/// A directory on the way.
struct Place {
    file: OwnedFd,
    is_writable_by_guest: bool,
}

/// Looks up an absolute path; `folders` are all that the guest gets.
///
/// # Errors
/// It leads nowhere, or by a symbolic link that the guest may have made.
pub(crate) fn look_up(path: &Path, folders: &[SharedFolder]) -> Result<Source> {
    ensure!(path.is_absolute(), "it is no absolute path");
    let writable = writable_folders(folders).context("the container's folders cannot be examined")?;
    let root = || -> Result<Place> {
        let file = open_path(CWD, Path::new("/")).context("'/' cannot be opened")?;
        Ok(Place { is_writable_by_guest: writable.contains(&identity(&file)?), file })
    };
    let mut way = vec![root()?];
    let mut pending = names(path);
    let mut links = 0;
    let mut last = None;
    while let Some(name) = pending.pop_front() {
        let Some(here) = way.last() else { bail!("it leads nowhere") };
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            last = None;
            continue;
        }
        let file = open_path(&here.file, Path::new(&name)).context("it cannot be opened")?;
        let status = fstat(&file).context("it cannot be examined")?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
            let is_writable_by_guest = here.is_writable_by_guest || writable.contains(&identity(&file)?);
            way.push(Place { file, is_writable_by_guest });
            last = Some(name);
            continue;
        }
        ensure!(
            !here.is_writable_by_guest,
            "'{}' on the way is a symbolic link in a folder that the container may change: name what it \
             leads to",
            Path::new(&name).display()
        );
        links += 1;
        ensure!(links <= MAXIMUM_LINKS, "it leads through too many symbolic links");
        let target = readlinkat(&here.file, Path::new(&name), Vec::new()).context("a link cannot be read")?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            way = vec![root()?];
        }
        for name in names(&target).into_iter().rev() {
            pending.push_front(name);
        }
        last = None;
    }
    let Some(found) = way.pop() else { bail!("it leads nowhere") };
    let (directory, is_in_guests_hands) = match way.pop() {
        Some(parent) => (parent.file, parent.is_writable_by_guest),
        None => (found.file.try_clone().context("cannot copy a descriptor")?, false),
    };
    Ok(Source { file: found.file, directory, name: last, is_in_guests_hands })
}

fn names(path: &Path) -> VecDeque<OsString> {
    let named = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(named).collect()
}

/// As O_PATH; a last name that is a link is opened itself.
pub(crate) fn open_path(directory: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(directory, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn identity(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let status = fstat(file)?;
    Ok((status.st_dev, status.st_ino))
}

fn writable_folders(folders: &[SharedFolder]) -> io::Result<Vec<(u64, u64)>> {
    let writable = folders.iter().filter(|folder| !folder.is_file && !folder.read_only);
    let identities = writable.map(|folder| folder.path.metadata());
    identities.map(|metadata| metadata.map(|metadata| (metadata.dev(), metadata.ino()))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(path: &Path, read_only: bool) -> SharedFolder {
        SharedFolder { path: path.to_owned(), is_file: false, read_only, relaxed: false }
    }

    #[test]
    fn links_are_followed_where_the_guest_cannot_make_them() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        std::fs::create_dir_all(at("project/sub")).unwrap();
        std::fs::create_dir_all(at("secret")).unwrap();
        std::fs::write(at("secret/key"), "").unwrap();
        std::fs::write(at("project/sub/own"), "").unwrap();
        symlink(at("secret"), at("project/absolute")).unwrap();
        symlink("../secret/key", at("project/relative")).unwrap();
        symlink("project", at("link")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let inode = |path: PathBuf| path.metadata().unwrap().ino();
        let found = |path: PathBuf, folders: &[SharedFolder]| {
            look_up(&path, folders)
                .map(|source| (fstat(&source.file).unwrap().st_ino, source.is_in_guests_hands))
        };
        // The host's own links count, wherever they lead.
        for path in ["project/absolute/key", "project/relative", "link/relative", "link/sub/../../secret/key"]
        {
            assert_eq!(
                found(at(path), &[folder(&at("project"), true)]).unwrap(),
                (inode(at("secret/key")), false)
            );
        }
        let writable = [folder(&at("project"), false)];
        for path in ["project/absolute/key", "project/relative", "link/relative"] {
            let error = found(at(path), &writable).unwrap_err();
            assert!(error.to_string().contains("symbolic link in a folder"), "{path}: {error:#}");
        }
        // The folder itself, by a link too, and what is really in it.
        assert_eq!(found(at("link"), &writable).unwrap(), (inode(at("project")), false));
        assert_eq!(found(at("link/sub/own"), &writable).unwrap(), (inode(at("project/sub/own")), true));
        assert_eq!(look_up(&at("link/sub/own"), &[]).unwrap().name.unwrap(), "own");
        assert_eq!(found(at("secret/key"), &writable).unwrap(), (inode(at("secret/key")), false));
        for nowhere in ["circle", "missing", "secret/key/below"] {
            assert!(found(at(nowhere), &[]).is_err(), "{nowhere}");
        }
        assert!(look_up(Path::new("/"), &[]).unwrap().name.is_none());
    }
}
