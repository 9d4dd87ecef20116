//! From a stream to a tree.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, ftruncate, mkdirat, openat2};
use rustix::io::{Errno, pwrite};

use super::error::text;
use super::pack::describe;
use super::{Destination, Placement, Skipped, TreeError, node};
use crate::tar::{Entry, Kind, Piece, Reader};

/// What symbolic links below the destination may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Nothing: an entry behind one is an error. For streams of strangers.
    Refuse,
    /// Lead anywhere in the caller's root, as `/lib` to `usr/lib`. For a caller whose root is the
    /// container's.
    FollowInside,
}

/// How much of an archive becomes real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Owners, and with them set-id bits; else the caller owns everything.
    pub keep_owner: bool,
    /// Create devices and named pipes, and replace them; else entries that are one are skipped, and files
    /// that are one stay.
    pub special_files: bool,
    /// No file capabilities and access lists.
    pub user_attributes_only: bool,
    /// See there.
    pub links: Links,
}

/// Extracts all entries at the destination that the path and the placement name.
///
/// # Errors
/// [`TreeError`]; what was extracted before stays.
pub fn extract<R: BufRead>(
    reader: &mut Reader<R>,
    path: &[u8],
    placement: Placement<'_>,
    options: ExtractOptions,
    skipped: &mut dyn FnMut(Skipped),
) -> Result<(), TreeError> {
    if placement == Placement::Unpack {
        let Destination::Inside(root) = Destination::find(path, placement, Kind::Directory)? else {
            return Err(TreeError::NoDirectory { path: text(path) });
        };
        return Extractor::new(root, options, skipped).rest(reader);
    }
    let top = reader.next_entry()?.ok_or(TreeError::Empty)?;
    if !components(&top.path)?.is_empty() {
        return Err(TreeError::Escapes { path: text(&top.path) });
    }
    let destination = Destination::find(path, placement, top.kind)?;
    let (parent, name) = match destination {
        Destination::Inside(root) => return Extractor::new(root, options, skipped).rest(reader),
        Destination::Named { parent, name } => (parent, name),
    };
    if top.kind == Kind::Directory {
        let root = node::make_directory(parent.as_fd(), &name, path, options.links)?;
        let attributed = root.try_clone().map_err(|error| TreeError::Create {
            path: text(path),
            source: Errno::from_io_error(&error).unwrap_or(Errno::MFILE),
        })?;
        Extractor::new(root, options, skipped).rest(reader)?;
        return node::set_attributes(&attributed, &top, path, options);
    }
    let special = match top.kind {
        Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo => !options.special_files,
        _ => false,
    };
    if special {
        return Err(TreeError::Special { path: text(path), what: what(top.kind) });
    }
    // A single entry: whatever a stranger sends behind it is not wanted.
    create(reader, parent.as_fd(), &name, path, &top, options)
}

/// A directory whose attributes are set when the stream leaves it.
struct Entered {
    path: Vec<u8>,
    directory: OwnedFd,
    entry: Entry,
}

struct Extractor<'a> {
    root: OwnedFd,
    options: ExtractOptions,
    skipped: &'a mut dyn FnMut(Skipped),
    entered: Vec<Entered>,
    /// The directory of the last entry: the next one is most often in it too.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Extractor<'a> {
    fn new(root: OwnedFd, options: ExtractOptions, skipped: &'a mut dyn FnMut(Skipped)) -> Self {
        Self { root, options, skipped, entered: Vec::new(), parent: None }
    }

    fn rest<R: BufRead>(mut self, reader: &mut Reader<R>) -> Result<(), TreeError> {
        while let Some(entry) = reader.next_entry()? {
            self.entry(reader, entry)?;
        }
        self.leave(b"")
    }

    fn entry<R: BufRead>(&mut self, reader: &mut Reader<R>, entry: Entry) -> Result<(), TreeError> {
        let names = components(&entry.path)?;
        // The top of somebody else's archive: the directory that is there already.
        let Some((name, parents)) = names.split_last() else { return Ok(()) };
        let parents = parents.join(&b'/');
        let path = names.join(&b'/');
        self.leave(&parents)?;
        self.enter(&parents)?;
        let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, directory)| directory.as_fd());
        match entry.kind {
            Kind::Directory => {
                let directory = node::make_directory(parent, name, &path, self.options.links)?;
                self.entered.push(Entered { path, directory, entry });
                Ok(())
            }
            Kind::HardLink => {
                let target = components(&entry.link_target)?;
                let Some((target_name, target_parents)) = target.split_last() else {
                    return Err(TreeError::Escapes { path: text(&entry.link_target) });
                };
                if target == names {
                    return Ok(());
                }
                let target_parent = self.open(&target_parents.join(&b'/'))?;
                node::make_link((target_parent.as_fd(), target_name), parent, name, &path, self.options)
            }
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo if !self.options.special_files => {
                (self.skipped)(Skipped { path, reason: what(entry.kind) });
                Ok(())
            }
            _ => create(reader, parent, name, &path, &entry, self.options),
        }
    }

    /// Sets the attributes of directories that are not above `path`.
    fn leave(&mut self, path: &[u8]) -> Result<(), TreeError> {
        while let Some(entered) = self.entered.pop() {
            let rest = path.strip_prefix(entered.path.as_slice());
            if rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/') {
                self.entered.push(entered);
                break;
            }
            node::set_attributes(&entered.directory, &entered.entry, &entered.path, self.options)?;
        }
        Ok(())
    }

    fn enter(&mut self, path: &[u8]) -> Result<(), TreeError> {
        if self.parent.as_ref().is_none_or(|(known, _)| known != path) {
            self.parent = None;
            self.parent = Some((path.to_vec(), self.open(path)?));
        }
        Ok(())
    }

    /// Opens a directory below the root; makes those that the archive did not mention.
    fn open(&self, path: &[u8]) -> Result<OwnedFd, TreeError> {
        let error = |error| match error {
            Errno::LOOP | Errno::NOTDIR => super::destination::occupied(path, false),
            source => TreeError::Create { path: text(path), source },
        };
        let whole: &[u8] = if path.is_empty() { b"." } else { path };
        match self.open_directory(self.root.as_fd(), whole) {
            Err(Errno::NOENT) => {}
            result => return result.map_err(error),
        }
        let mut directory = self.open_directory(self.root.as_fd(), b".").map_err(error)?;
        for name in path.split(|byte| *byte == b'/') {
            let child = match self.open_directory(directory.as_fd(), name) {
                Err(Errno::NOENT) => match mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => self.open_directory(directory.as_fd(), name),
                    Err(error) => Err(error),
                },
                result => result,
            };
            directory = child.map_err(error)?;
        }
        Ok(directory)
    }

    fn open_directory(&self, base: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        let resolve = match self.options.links {
            Links::Refuse => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
            Links::FollowInside => ResolveFlags::NO_MAGICLINKS,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(base, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

/// Creates what is neither a directory nor a further name.
fn create<R: BufRead>(
    reader: &mut Reader<R>,
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    entry: &Entry,
    options: ExtractOptions,
) -> Result<(), TreeError> {
    match entry.kind {
        Kind::File => {
            let file = node::make_file(parent, name, shown, options)?;
            fill(reader, &file, entry.size_bytes, shown)?;
            node::set_attributes(&file, entry, shown, options)
        }
        Kind::HardLink | Kind::Directory => Err(TreeError::Escapes { path: text(shown) }),
        _ => node::make_other(parent, name, shown, entry, options),
    }
}

/// Holes stay holes: however large a stranger says that a file is, it takes no more room than was sent.
fn fill<R: BufRead>(
    reader: &mut Reader<R>,
    file: &OwnedFd,
    size_bytes: u64,
    shown: &[u8],
) -> Result<(), TreeError> {
    let error = |source| TreeError::Write { path: text(shown), source };
    let mut offset = 0_u64;
    reader.read_content(|piece| -> Result<(), TreeError> {
        match piece {
            Piece::Zeros(length_bytes) => offset = offset.saturating_add(length_bytes),
            Piece::Data(mut bytes) => {
                while !bytes.is_empty() {
                    match pwrite(file, bytes, offset) {
                        Ok(count) => {
                            offset += count as u64;
                            bytes = &bytes[count..];
                        }
                        Err(Errno::INTR) => {}
                        Err(source) => return Err(error(source)),
                    }
                }
            }
        }
        Ok(())
    })?;
    ftruncate(file, size_bytes).map_err(error)
}

/// The names on a path: a leading slash means nothing, as with tar(1), and "..", anywhere, is refused.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, TreeError> {
    let names: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if names.contains(&&b".."[..]) {
        return Err(TreeError::Escapes { path: text(path) });
    }
    Ok(names)
}

fn what(kind: Kind) -> &'static str {
    use rustix::fs::FileType;
    describe(match kind {
        Kind::CharacterDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        _ => FileType::Fifo,
    })
}
