//! How a volume is filled so that it is empty or full, whatever dies on the way.
//!
//! ```text
//!  .bulkhead-filling/            only while a volume is being filled
//!      partial/                  what is copied; of no use to whoever finds it
//!          content/  top/        the directory's entries, and an empty directory with its owner and mode
//!      complete/                 is what partial is called once all of it is on the disk
//! ```
//!
//! From `complete` the entries move to where they belong, one rename(2) each. Whoever finds it goes on with
//! that; whoever finds `partial` begins again. The host lets one machine do it at a time: nothing in the volume
//! could be a lock, for all its containers can reach it.
//!
//! So can they put there what is none of this, or do it meanwhile. Then what they did is the volume's content: they are
//! to hold up nobody else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_archive::tree::{Target, TreeError, copy, copy_attributes, remove};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, fstat, mkdirat, openat, renameat, renameat_with,
    statat, syncfs, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

const STAGING: &str = ".bulkhead-filling";
/// What earlier versions locked.
const LOCK: &str = "lock";
const PARTIAL: &str = "partial";
const COMPLETE: &str = "complete";
const CONTENT: &str = "content";
const TOP: &str = "top";
/// The root of a new volume: root's, of this mode.
const NEW_MODE: u32 = 0o755;
/// More than half a copy has; others may add to it as fast as it is removed.
const MOST_ENTRIES: usize = 1 << 20;

/// Why a volume was not filled.
#[derive(Debug, Error)]
pub(super) enum StagingError {
    /// The copy failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The volume cannot be used.
    #[error("cannot use the volume")]
    Volume(#[from] Errno),
}

/// What ends the work before its time.
#[derive(Debug)]
enum Obstacle {
    /// What others put there, or do this moment.
    Foreign,
    Failed(StagingError),
}

impl Obstacle {
    fn of_staging(error: Errno) -> Self {
        if is_foreign(error) { Self::Foreign } else { error.into() }
    }

    fn of_removal(error: TreeError) -> Self {
        match error {
            TreeError::TooMuch { .. } => Self::Foreign,
            TreeError::Remove { source, .. } if is_foreign(source) => Self::Foreign,
            error => Self::Failed(error.into()),
        }
    }

    fn of_copy(error: TreeError) -> Self {
        match error {
            TreeError::Open { source, .. }
            | TreeError::Create { source, .. }
            | TreeError::Attributes { source, .. }
                if is_of_names(source) =>
            {
                Self::Foreign
            }
            error => Self::Failed(error.into()),
        }
    }
}

impl From<Errno> for Obstacle {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

/// Names are others than were made.
fn is_of_names(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP
    )
}

/// The same, or they cannot be had, as is told of files that may not be changed (FS_IMMUTABLE_FL).
fn is_foreign(error: Errno) -> bool {
    is_of_names(error) || matches!(error, Errno::PERM | Errno::ACCESS)
}

/// Fills an empty volume with what `source` holds; tells whether it holds something now. A directory that holds
/// nothing gives its owner and mode to a volume that nobody has touched.
pub(super) fn fill(
    source: Option<BorrowedFd<'_>>,
    volume: BorrowedFd<'_>,
    kind: Target,
) -> Result<bool, StagingError> {
    let root = open_directory(volume, ".")?;
    let found = survey(&root)?;
    if !found.staging {
        if found.content {
            return Ok(true);
        }
        let Some(source) = source else { return Ok(false) };
        if !holds_something(source)? {
            if is_new(&root)? {
                copy_attributes(source, root.as_fd(), kind)?;
                syncfs(&root)?;
            }
            return Ok(false);
        }
    }
    match Staging::enter(&root) {
        // Whoever has the volume put something else there, or does so this moment.
        Err(error) if is_of_names(error) => Ok(true),
        staging => staging?.fill(source, kind),
    }
}

/// Whether there is anything in a volume, and all of what was to be there.
pub(super) fn holds_content(volume: &OwnedFd) -> bool {
    let found = open_directory(volume.as_fd(), ".").and_then(|root| survey(&root));
    found.is_ok_and(|found| found.content && !found.staging)
}

/// The directory for the work.
struct Staging<'a> {
    root: &'a OwnedFd,
    directory: OwnedFd,
}

impl<'a> Staging<'a> {
    fn enter(root: &'a OwnedFd) -> Result<Self, Errno> {
        match mkdirat(root, STAGING, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { root, directory: open_directory(root.as_fd(), STAGING)? })
    }

    fn fill(self, source: Option<BorrowedFd<'_>>, kind: Target) -> Result<bool, StagingError> {
        let filled = match self.try_fill(source, kind) {
            Ok(filled) => Ok(filled),
            Err(Obstacle::Foreign) => Ok(true),
            Err(Obstacle::Failed(error)) => Err(error),
        };
        let left = self.leave();
        let filled = filled?;
        left?;
        Ok(filled)
    }

    fn try_fill(&self, source: Option<BorrowedFd<'_>>, kind: Target) -> Result<bool, Obstacle> {
        if self.move_complete(kind)? {
            return Ok(true);
        }
        clear(&self.directory, PARTIAL)?;
        if survey(self.root)?.content {
            return Ok(true);
        }
        let Some(source) = source else { return Ok(false) };
        if let Err(error) = self.copy(source, kind) {
            clear(&self.directory, PARTIAL)?;
            return Err(error);
        }
        self.move_complete(kind)
    }

    fn copy(&self, source: BorrowedFd<'_>, kind: Target) -> Result<(), Obstacle> {
        let partial = make_directory(&self.directory, PARTIAL)?;
        let content = make_directory(&partial, CONTENT)?;
        let top = make_directory(&partial, TOP)?;
        copy(source, content.as_fd(), kind).map_err(Obstacle::of_copy)?;
        copy_attributes(source, top.as_fd(), kind).map_err(Obstacle::of_copy)?;
        syncfs(self.root)?;
        renameat(&self.directory, PARTIAL, &self.directory, COMPLETE).map_err(Obstacle::of_staging)
    }

    /// Moves what is complete to where it belongs; tells whether there was such a thing.
    fn move_complete(&self, kind: Target) -> Result<bool, Obstacle> {
        let Some(complete) = find_directory(&self.directory, COMPLETE)? else { return Ok(false) };
        if let Some(content) = find_directory(&complete, CONTENT)? {
            for name in names(&content)? {
                match move_new(&content, self.root, &name, rename_new) {
                    Ok(()) => {}
                    // Somebody who wanted the volume without the image's content was faster, and keeps his.
                    Err(error) if is_foreign(error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if let Some(top) = find_directory(&complete, TOP)? {
            let set = copy_attributes(top.as_fd(), self.root.as_fd(), kind);
            set.map_err(|error| Obstacle::Failed(error.into()))?;
        }
        // The top goes last: its attributes are there until all else is done.
        clear(&complete, CONTENT)?;
        clear(&self.directory, COMPLETE)?;
        Ok(true)
    }

    fn leave(self) -> Result<(), Errno> {
        // Without it there was nothing to remove.
        let _ = unlinkat(&self.directory, LOCK, AtFlags::empty());
        match unlinkat(self.root, STAGING, AtFlags::REMOVEDIR) {
            Ok(()) => {}
            // What a container put there is its own.
            Err(error) if is_foreign(error) => {}
            Err(error) => return Err(error),
        }
        // What the host is told next counts for good.
        syncfs(self.root)
    }
}

/// Moves an entry to where nothing is yet; `rename` is [`rename_new`]. File systems of the network and of programs may
/// not know how: then a look before must do.
fn move_new(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &[u8],
    rename: impl Fn(&OwnedFd, &OwnedFd, &[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match rename(from, to, name) {
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(from, name, to, name),
            Err(error) => Err(error),
        },
        result => result,
    }
}

fn rename_new(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    renameat_with(from, name, to, name, RenameFlags::NOREPLACE)
}

/// What is in the root of a volume.
struct Found {
    staging: bool,
    content: bool,
}

fn survey(root: &OwnedFd) -> Result<Found, Errno> {
    // Anything else of that name is not ours.
    let staging = match statat(root, STAGING, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => FileType::from_raw_mode(status.st_mode) == FileType::Directory,
        Err(Errno::NOENT) => false,
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(root)? {
        match entry?.file_name().to_bytes() {
            // What e2fsck makes where it misses it is no content.
            b"." | b".." | b"lost+found" => {}
            name if staging && name == STAGING.as_bytes() => {}
            _ => return Ok(Found { staging, content: true }),
        }
    }
    Ok(Found { staging, content: false })
}

fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Obstacle> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == MOST_ENTRIES {
            return Err(Obstacle::Foreign);
        }
        names.push(name.to_vec());
    }
    Ok(names)
}

fn holds_something(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it still has the owner and mode that every volume begins with.
fn is_new(root: &OwnedFd) -> Result<bool, Errno> {
    let status = fstat(root)?;
    Ok((status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, NEW_MODE))
}

fn make_directory(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Obstacle> {
    mkdirat(parent, name, Mode::RWXU)
        .and_then(|()| open_directory(parent.as_fd(), name))
        .map_err(Obstacle::of_staging)
}

fn find_directory(parent: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Obstacle> {
    match open_directory(parent.as_fd(), name) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Obstacle::of_staging(error)),
    }
}

fn clear(parent: &OwnedFd, name: &str) -> Result<(), Obstacle> {
    remove(parent.as_fd(), name.as_bytes(), MOST_ENTRIES).map_err(Obstacle::of_removal)
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests;
