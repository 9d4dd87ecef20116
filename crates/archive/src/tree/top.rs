//! The top of a tree, as a user names it.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use super::TreeError;
use super::error::text;

/// What a path leads to.
#[derive(Debug)]
pub struct Top {
    /// O_PATH.
    pub(super) descriptor: OwnedFd,
    pub(super) status: Stat,
    /// As it was named.
    pub(super) path: Vec<u8>,
    follow_link: bool,
}

impl Top {
    /// Looks a path up in the caller's own root. A link at its end is itself meant unless `follow_link`,
    /// or unless a slash follows.
    ///
    /// # Errors
    /// [`TreeError::Open`]
    pub fn find(path: &[u8], follow_link: bool) -> Result<Self, TreeError> {
        let follow_link = follow_link || path.ends_with(b"/") || path.ends_with(b"/.");
        let error = |source| TreeError::Open { path: text(path), source };
        let descriptor = open(path, OFlags::PATH, follow_link).map_err(error)?;
        let status = fstat(&descriptor).map_err(error)?;
        Ok(Self { descriptor, status, path: path.to_vec(), follow_link })
    }

    /// A directory that is already open.
    ///
    /// # Errors
    /// [`TreeError::Open`]
    pub fn of_directory(descriptor: OwnedFd) -> Result<Self, TreeError> {
        let status = fstat(&descriptor).map_err(|source| TreeError::Open { path: "/".to_owned(), source })?;
        Ok(Self { descriptor, status, path: b".".to_vec(), follow_link: true })
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.status.st_mode) == FileType::Directory
    }

    /// The file for reading; what took its place meanwhile is not accepted.
    pub(super) fn reopen(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open(&self.path, flags, self.follow_link)?;
        let status = fstat(&file)?;
        let same = (status.st_dev, status.st_ino) == (self.status.st_dev, self.status.st_ino);
        if same { Ok(file) } else { Err(Errno::STALE) }
    }
}

fn open(path: &[u8], flags: OFlags, follow_link: bool) -> Result<OwnedFd, Errno> {
    let last = if follow_link { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = flags | last | OFlags::CLOEXEC;
    loop {
        match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}
