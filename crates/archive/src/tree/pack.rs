//! From a tree to a stream.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, fstat, major, minor, readlinkat, statat};
use rustix::io::{Errno, pread};

use super::error::text;
use super::{Skipped, Top, TreeError, attributes, open_child, pseudo, sparse};
use crate::tar::{Entry, Kind, Segment, Writer};

const BUFFER_BYTES: usize = 128 * 1024;
/// How much is read ahead of a file whose size does not say how much there is.
pub(super) const MAXIMUM_UNSIZED_BYTES: usize = 16 << 20;
/// Each level costs a descriptor; paths that the kernel takes have fewer.
pub(super) const MAXIMUM_DEPTH: usize = 2048;

/// How much of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything below the top, other file systems included.
    Everything,
    /// What a directory contains, without an entry for itself.
    Contents,
}

/// Writes the tree at `top` as entries below `name`, sorted by name, the top first.
///
/// Sockets and what vanishes meanwhile are left out, the former with a word to `skipped`.
///
/// # Errors
/// [`TreeError`]; the stream then ends in the middle.
pub fn pack<W: Write>(
    top: &Top,
    name: &[u8],
    scope: Scope,
    writer: &mut Writer<W>,
    skipped: &mut dyn FnMut(Skipped),
) -> Result<(), TreeError> {
    let mut packer = Packer::new(writer, skipped);
    // By the path that the user knows: the name is what it is to become.
    let read = |source| TreeError::Read { path: text(&top.path), source };
    if top.is_directory() {
        let directory = open_child(top.descriptor.as_fd(), b".", OFlags::RDONLY | OFlags::DIRECTORY);
        let directory = directory.map_err(read)?;
        if scope == Scope::Everything {
            packer.directory(name, &top.status, directory.as_fd())?;
        }
        return packer.descend(directory, name);
    }
    match FileType::from_raw_mode(top.status.st_mode) {
        FileType::RegularFile => {
            let file = top.reopen().map_err(read)?;
            packer.file(name, &top.status, &file, Some(top)).map(drop)
        }
        FileType::Symlink => {
            let target = readlinkat(&top.descriptor, c"", Vec::new()).map_err(read)?;
            packer.symlink(name, &top.status, target.into_bytes())
        }
        kind => Err(TreeError::Special { path: text(&top.path), what: describe(kind) }),
    }
}

/// Why a file of a pseudo file system is left out.
const UNREADABLE: &str = "a file that cannot be read";

/// A directory that is being listed.
struct Level {
    directory: OwnedFd,
    names: std::vec::IntoIter<Vec<u8>>,
    path_length: usize,
}

pub(super) struct Packer<'a, W> {
    writer: &'a mut Writer<W>,
    pub(super) skipped: &'a mut dyn FnMut(Skipped),
    /// First path of every file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Packer<'a, W> {
    pub(super) fn new(writer: &'a mut Writer<W>, skipped: &'a mut dyn FnMut(Skipped)) -> Self {
        Self { writer, skipped, links: HashMap::new(), buffer: vec![0; BUFFER_BYTES] }
    }

    /// Not by recursion: the tree's depth is a stranger's.
    fn descend(&mut self, directory: OwnedFd, name: &[u8]) -> Result<(), TreeError> {
        let mut path = name.to_vec();
        let names = list(&directory, &path)?;
        let mut levels = vec![Level { directory, names, path_length: path.len() }];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_length);
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let Some(child) = self.child(level.directory.as_fd(), &name, &path)? else { continue };
            if levels.len() == MAXIMUM_DEPTH {
                return Err(TreeError::TooDeep { path: text(&path), limit: MAXIMUM_DEPTH });
            }
            let names = match list(&child, &path) {
                // Of a process that has ended meanwhile.
                Err(_) if pseudo::is_pseudo(child.as_fd()) => continue,
                names => names?,
            };
            levels.push(Level { directory: child, names, path_length: path.len() });
        }
        Ok(())
    }

    /// Writes one entry; returns it if it is a directory.
    pub(super) fn child(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<OwnedFd>, TreeError> {
        let read = |source| TreeError::Read { path: text(path), source };
        let status = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind != FileType::Directory && status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key) {
                let link = Entry { link_target: first.clone(), ..entry(Kind::HardLink, path, &status) };
                return self.begin(&link, None).map(|()| None);
            }
        }
        let written = match kind {
            FileType::Directory | FileType::RegularFile => {
                let wanted = if kind == FileType::Directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
                let opened = open_child(parent, name, OFlags::RDONLY | OFlags::NOCTTY | wanted);
                let opened = opened.and_then(|file| fstat(&file).map(|status| (file, status)));
                let (file, status) = match opened {
                    Ok(opened) => opened,
                    // Replaced or removed since it was listed.
                    Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
                    Err(_) if pseudo::is_pseudo(parent) => {
                        (self.skipped)(Skipped { path: path.to_vec(), reason: UNREADABLE });
                        return Ok(None);
                    }
                    Err(error) => return Err(read(error)),
                };
                if FileType::from_raw_mode(status.st_mode) != kind {
                    return Ok(None);
                }
                if kind == FileType::Directory {
                    self.directory(path, &status, file.as_fd())?;
                    return Ok(Some(file));
                }
                if !self.file(path, &status, &file, None)? {
                    return Ok(None);
                }
                Ok(())
            }
            FileType::Symlink => match readlinkat(parent, name, Vec::new()) {
                Ok(target) => self.symlink(path, &status, target.into_bytes()),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
                Err(error) => return Err(read(error)),
            },
            FileType::CharacterDevice => self.begin(&entry(Kind::CharacterDevice, path, &status), None),
            FileType::BlockDevice => self.begin(&entry(Kind::BlockDevice, path, &status), None),
            FileType::Fifo => self.begin(&entry(Kind::Fifo, path, &status), None),
            FileType::Socket | FileType::Unknown => {
                (self.skipped)(Skipped { path: path.to_vec(), reason: describe(kind) });
                return Ok(None);
            }
        };
        written?;
        if status.st_nlink > 1 {
            self.links.insert((status.st_dev, status.st_ino), path.to_vec());
        }
        Ok(None)
    }

    pub(super) fn directory(
        &mut self,
        path: &[u8],
        status: &Stat,
        file: BorrowedFd<'_>,
    ) -> Result<(), TreeError> {
        let read = |source| TreeError::Read { path: text(path), source };
        let path = [path, b"/"].concat();
        let attributes = attributes::read(file).map_err(read)?;
        self.begin(&Entry { attributes, ..entry(Kind::Directory, &path, status) }, None)
    }

    fn symlink(&mut self, path: &[u8], status: &Stat, target: Vec<u8>) -> Result<(), TreeError> {
        self.begin(&Entry { link_target: target, ..entry(Kind::Symlink, path, status) }, None)
    }

    /// `top`: it is what was asked for; else what a pseudo file system does not let be read is left out.
    /// Returns whether it was written.
    fn file(
        &mut self,
        path: &[u8],
        status: &Stat,
        file: &OwnedFd,
        top: Option<&Top>,
    ) -> Result<bool, TreeError> {
        let shown = top.map_or(path, |top| &top.path);
        let read = |source| TreeError::Read { path: text(shown), source };
        let size_bytes = u64::try_from(status.st_size).unwrap_or(0);
        let segments = sparse::segments(file.as_fd(), status).map_err(read)?;
        if segments.is_none() && size_bytes <= BUFFER_BYTES as u64 {
            let outcome = match self.read_ahead(file, size_bytes) {
                Ok(Some(count)) => self.write_ahead(path, status, file, count).map(|()| true),
                Ok(None) if top.is_some() => {
                    Err(TreeError::Unsized { path: text(shown), limit_bytes: MAXIMUM_UNSIZED_BYTES })
                }
                Err(error) if top.is_some() || !pseudo::is_pseudo(file.as_fd()) => Err(read(error)),
                Ok(None) => {
                    (self.skipped)(Skipped { path: path.to_vec(), reason: "longer than its size says" });
                    Ok(false)
                }
                // Many there are for writing only, or of processes that have ended meanwhile.
                Err(_) => {
                    (self.skipped)(Skipped { path: path.to_vec(), reason: UNREADABLE });
                    Ok(false)
                }
            };
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
            return outcome;
        }
        let attributes = attributes::read(file.as_fd()).map_err(read)?;
        let entry = Entry { attributes, size_bytes, ..entry(Kind::File, path, status) };
        self.begin(&entry, segments.as_deref())?;
        let whole = [Segment { offset_bytes: 0, length_bytes: size_bytes }];
        for segment in segments.as_deref().unwrap_or(&whole) {
            let end = segment.offset_bytes + segment.length_bytes;
            let mut offset = segment.offset_bytes;
            while offset < end {
                let room = usize::try_from(end - offset).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
                let count = match pread(file, &mut self.buffer[..room], offset) {
                    // It shrank.
                    Ok(0) => {
                        self.buffer[..room].fill(0);
                        room
                    }
                    Ok(count) => count,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(read(error)),
                };
                self.writer.write_content(&self.buffer[..count]).map_err(TreeError::Output)?;
                offset += count as u64;
            }
        }
        Ok(true)
    }

    /// Reads a small file into the buffer, to its end: files of proc have no size, those of sysfs a page,
    /// whatever is in them. Others are cut where they ended when they were looked at. Returns how much it was,
    /// or nothing if that is too much.
    fn read_ahead(&mut self, file: &OwnedFd, size_bytes: u64) -> Result<Option<usize>, Errno> {
        let mut count = 0;
        loop {
            if size_bytes > 0 && count as u64 >= size_bytes {
                return Ok(Some(usize::try_from(size_bytes).unwrap_or(count)));
            }
            if count == self.buffer.len() {
                if count >= MAXIMUM_UNSIZED_BYTES {
                    return Ok(None);
                }
                self.buffer.resize(2 * count, 0);
            }
            match pread(file, &mut self.buffer[count..], count as u64) {
                Ok(0) => return Ok(Some(count)),
                Ok(more) => count += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a file of which [`Self::read_ahead`] left all in the buffer.
    fn write_ahead(
        &mut self,
        path: &[u8],
        status: &Stat,
        file: &OwnedFd,
        count: usize,
    ) -> Result<(), TreeError> {
        let read = |source| TreeError::Read { path: text(path), source };
        let attributes = attributes::read(file.as_fd()).map_err(read)?;
        let entry = Entry { attributes, size_bytes: count as u64, ..entry(Kind::File, path, status) };
        self.begin(&entry, None)?;
        self.writer.write_content(&self.buffer[..count]).map_err(TreeError::Output)?;
        Ok(())
    }

    pub(super) fn begin(&mut self, entry: &Entry, segments: Option<&[Segment]>) -> Result<(), TreeError> {
        self.writer.begin(entry, segments).map_err(TreeError::Output)
    }
}

pub(super) fn list(directory: &OwnedFd, path: &[u8]) -> Result<std::vec::IntoIter<Vec<u8>>, TreeError> {
    let read = |source| TreeError::Read { path: text(path), source };
    let mut names = Vec::new();
    for item in Dir::read_from(directory).map_err(read)? {
        let item = item.map_err(read)?;
        let name = item.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names.into_iter())
}

pub(super) fn entry(kind: Kind, path: &[u8], status: &Stat) -> Entry {
    Entry {
        kind,
        path: path.to_vec(),
        link_target: Vec::new(),
        permissions: u16::try_from(status.st_mode & 0o7777).unwrap_or(0),
        uid: status.st_uid,
        gid: status.st_gid,
        // Whole seconds, as Docker's archives have them: an extended header less for every file.
        modified_seconds: status.st_mtime,
        modified_nanoseconds: 0,
        size_bytes: 0,
        device: (major(status.st_rdev), minor(status.st_rdev)),
        attributes: Default::default(),
    }
}

pub(super) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::Directory => "a directory",
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        FileType::Unknown => "of an unknown kind",
    }
}
