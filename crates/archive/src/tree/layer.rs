//! From the writable directory of an overlay to a layer of an image (OCI image specification, "Image Layer
//! Filesystem Changeset"; Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, fgetxattr, fstat, statat};
use rustix::io::Errno;

use super::error::text;
use super::pack::{Packer, entry, list};
use super::{Skipped, Top, TreeError, attributes, open_child};
use crate::tar::{Entry, Kind, Writer};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// Each level costs two descriptors.
const MAXIMUM_DEPTH: usize = 1024;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Writes what `upper`, the writable directory of an overlay, has other than `image`, what is below it: entries
/// sorted by name, directories that have any before them. What is `made` for mounts to stand on, by its path from
/// the top, is left out as long as it is empty; so are sockets and names that would mean something else in a
/// layer, with a word to `skipped`.
///
/// # Errors
/// [`TreeError`]; the stream then ends in the middle.
pub fn pack_layer<W: Write>(
    upper: &Top,
    image: &Top,
    made: &dyn Fn(&[u8]) -> bool,
    writer: &mut Writer<W>,
    skipped: &mut dyn FnMut(Skipped),
) -> Result<(), TreeError> {
    let open = |top: &Top| {
        open_child(top.descriptor.as_fd(), b".", DIRECTORY)
            .map_err(|source| TreeError::Read { path: "/".to_owned(), source })
    };
    let mut layer =
        Layer { packer: Packer::new(writer, skipped), made, path: Vec::new(), levels: Vec::new() };
    layer.enter(open(upper)?, Some(open(image)?))?;
    while let Some(level) = layer.levels.last_mut() {
        layer.path.truncate(level.path_length);
        match level.names.next() {
            Some(name) => layer.child(&name)?,
            None => layer.leave()?,
        }
    }
    Ok(())
}

/// Whether it hides what the image has of its name.
#[must_use]
pub fn is_whiteout(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == 0
}

/// Whether it hides what is in the image's directory of its name.
#[must_use]
pub fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0; 8];
    let length = fgetxattr(directory, c"trusted.overlay.opaque", &mut value[..]);
    matches!(length, Ok(1)) && value[0] == b'y'
}

struct Layer<'a, W> {
    packer: Packer<'a, W>,
    made: &'a dyn Fn(&[u8]) -> bool,
    /// Of what is looked at.
    path: Vec<u8>,
    levels: Vec<Level>,
}

/// A directory that is being listed.
struct Level {
    directory: OwnedFd,
    status: Stat,
    /// What is seen of the image there.
    image: Option<OwnedFd>,
    names: std::vec::IntoIter<Vec<u8>>,
    path_length: usize,
    is_written: bool,
    /// There is no reason to write it but what is in it.
    is_bare: bool,
}

impl<W: Write> Layer<'_, W> {
    /// Begins with a directory at the path.
    fn enter(&mut self, directory: OwnedFd, image: Option<OwnedFd>) -> Result<(), TreeError> {
        if self.levels.len() == MAXIMUM_DEPTH {
            return Err(TreeError::TooDeep { path: text(&self.path), limit: MAXIMUM_DEPTH });
        }
        let read = |source| TreeError::Read { path: text(&self.path), source };
        let status = fstat(&directory).map_err(read)?;
        let is_bare = match &image {
            Some(image) => is_like(&directory, &status, image).map_err(read)?,
            None => (self.made)(&self.path),
        };
        let hides = image.is_some() && !self.levels.is_empty() && is_opaque(directory.as_fd());
        let names = list(&directory, &self.path)?;
        let path_length = self.path.len();
        let image = image.filter(|_| !hides);
        let level = Level { directory, status, image, names, path_length, is_written: false, is_bare };
        self.levels.push(level);
        if !hides {
            return Ok(());
        }
        self.write_directories()?;
        self.write_mark(OPAQUE_MARK, &status)
    }

    /// Ends with a directory, and writes it if that is still to be done.
    fn leave(&mut self) -> Result<(), TreeError> {
        if self.levels.last().is_some_and(|level| !level.is_written && !level.is_bare) {
            self.write_directories()?;
        }
        self.levels.pop();
        Ok(())
    }

    /// Something of this name in the directory.
    fn child(&mut self, name: &[u8]) -> Result<(), TreeError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let before = level.image.as_ref().and_then(|image| look_up(image.as_fd(), name).ok());
        let status = match look_up(level.directory.as_fd(), name) {
            Err(Errno::NOENT) => return Ok(()),
            found => {
                found.map_err(|source| TreeError::Read { path: text(&join(&self.path, name)), source })?
            }
        };
        if is_whiteout(&status) {
            let Some(_) = before else { return Ok(()) };
            self.write_directories()?;
            return self.write_mark(&[WHITEOUT_PREFIX, name].concat(), &status);
        }
        let path = join(&self.path, name);
        if name.starts_with(WHITEOUT_PREFIX) {
            (self.packer.skipped)(Skipped { path, reason: "its name would mean something else in an image" });
            return Ok(());
        }
        if is_directory(&status) {
            let directory = match open_child(level.directory.as_fd(), name, DIRECTORY) {
                // Replaced or removed since it was listed.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
                opened => opened.map_err(|source| TreeError::Read { path: text(&path), source })?,
            };
            let image = match (&level.image, before) {
                (Some(image), Some(before)) if is_directory(&before) => {
                    let opened = open_child(image.as_fd(), name, DIRECTORY);
                    Some(opened.map_err(|source| TreeError::Read { path: text(&path), source })?)
                }
                _ => None,
            };
            self.path = path;
            return self.enter(directory, image);
        }
        if before.is_none() && status.st_size == 0 && (self.made)(&path) {
            return Ok(());
        }
        self.write_directories()?;
        let Some(level) = self.levels.last() else { return Ok(()) };
        self.packer.child(level.directory.as_fd(), name, &path).map(drop)
    }

    /// Those that lead to what is to be written, as far as it was not done.
    fn write_directories(&mut self) -> Result<(), TreeError> {
        for (depth, level) in self.levels.iter_mut().enumerate() {
            // Every image has a root.
            let is_needed = depth > 0 || !level.is_bare;
            if !std::mem::replace(&mut level.is_written, true) && is_needed {
                let path = if depth == 0 { &b"."[..] } else { &self.path[..level.path_length] };
                self.packer.directory(path, &level.status, level.directory.as_fd())?;
            }
        }
        Ok(())
    }

    /// An empty file that says by its name what is gone.
    fn write_mark(&mut self, name: &[u8], status: &Stat) -> Result<(), TreeError> {
        let path = join(&self.path, name);
        let mark = Entry { permissions: 0, device: (0, 0), ..entry(Kind::File, &path, status) };
        self.packer.begin(&mark, None)
    }
}

/// Whether two directories are the same but for what is in them, and for when that changed.
fn is_like(directory: &OwnedFd, status: &Stat, image: &OwnedFd) -> Result<bool, Errno> {
    let before = fstat(image)?;
    let owner_and_mode = |status: &Stat| (status.st_mode, status.st_uid, status.st_gid);
    Ok(owner_and_mode(status) == owner_and_mode(&before)
        && attributes::read(directory.as_fd())? == attributes::read(image.as_fd())?)
}

fn look_up(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
}

fn is_directory(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
