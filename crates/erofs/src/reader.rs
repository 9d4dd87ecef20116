//! Looks up single files in an image. It reads what [`crate::Writer`] writes and refuses everything else, so it
//! can be pointed at a damaged file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use thiserror::Error;

use crate::checksum::crc32c;
use crate::layout::{
    BLOCK, BLOCK_BYTES, COMPACT_INODE_BYTES, DIRENT_BYTES, EXTENDED_INODE_BYTES, FileType, MAGIC, SLOT,
    SUPERBLOCK_OFFSET,
};
use crate::{Identity, Metadata, attributes};

/// Why an image could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read the EROFS image")]
    Input(#[source] std::io::Error),
    /// The file is shorter than its superblock says, or is no image that this crate wrote.
    #[error("the EROFS image is damaged: bad {what}")]
    Damaged {
        /// Which structure.
        what: &'static str,
    },
}

/// An image opened for reading.
#[derive(Debug)]
pub struct Image {
    file: File,
    identity: Identity,
    length_bytes: u64,
    root: u64,
}

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its type.
    pub kind: FileType,
    /// Owner, permissions, time, attributes.
    pub metadata: Metadata,
    /// Length of its content in bytes.
    pub size_bytes: u64,
    /// Number of names; for directories subdirectories plus 2.
    pub links: u32,
    first_block: u32,
    inline: bool,
    /// Where an inline tail begins.
    tail_position: u64,
}

impl Image {
    /// Opens an image and checks its superblock against the file.
    ///
    /// # Errors
    /// When the file cannot be read, is truncated or no image.
    pub fn open(file: File) -> Result<Self, ReadError> {
        let damaged = ReadError::Damaged { what: "superblock" };
        let file_bytes = file.metadata().map_err(ReadError::Input)?.len();
        if file_bytes < BLOCK {
            return Err(damaged);
        }
        let mut block = [0; BLOCK_BYTES];
        file.read_exact_at(&mut block, 0).map_err(ReadError::Input)?;
        let field = |offset: usize| u32_at(&block, SUPERBLOCK_OFFSET + offset);
        let checksum = field(4);
        let mut unsigned = block;
        unsigned[SUPERBLOCK_OFFSET + 4..SUPERBLOCK_OFFSET + 8].fill(0);
        let is_sound = field(0) == MAGIC
            && checksum == crc32c(&unsigned[SUPERBLOCK_OFFSET..])
            && block[SUPERBLOCK_OFFSET + 12] == 12
            && u64::from(field(36)) * BLOCK == file_bytes;
        if !is_sound {
            return Err(damaged);
        }
        let text = |offset: usize| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&block[SUPERBLOCK_OFFSET + offset..SUPERBLOCK_OFFSET + offset + 16]);
            bytes
        };
        let identity = Identity { uuid: text(48), label: text(64) };
        let root = u64::from(u16_at(&block, SUPERBLOCK_OFFSET + 14));
        Ok(Self { file, identity, length_bytes: file_bytes, root })
    }

    /// UUID and label.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The file's length, which the superblock confirms.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// The root directory.
    ///
    /// # Errors
    /// When the image cannot be read or is damaged.
    pub fn root(&self) -> Result<Stat, ReadError> {
        self.stat(self.root)
    }

    /// Looks a path up from the root, following no symbolic link. Empty components and `.` are skipped.
    ///
    /// # Errors
    /// When the image cannot be read or is damaged.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Stat>, ReadError> {
        let mut current = self.root()?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
            if current.kind != FileType::Directory {
                return Ok(None);
            }
            match self.find(&current, name)? {
                Some(number) => current = self.stat(number)?,
                None => return Ok(None),
            }
        }
        Ok(Some(current))
    }

    /// Reads a file's whole content, a symbolic link's target or a directory's blocks.
    ///
    /// # Errors
    /// When it has more than `max_bytes`, or the image cannot be read or is damaged.
    pub fn content(&self, stat: &Stat, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
        let damaged = || ReadError::Damaged { what: "file size" };
        if stat.size_bytes > max_bytes || stat.size_bytes > self.length_bytes {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::try_from(stat.size_bytes).map_err(|_| damaged())?];
        let tail_bytes = if stat.inline { bytes.len() % BLOCK_BYTES } else { 0 };
        let whole_bytes = bytes.len() - tail_bytes;
        let (whole, tail) = bytes.split_at_mut(whole_bytes);
        self.read(whole, u64::from(stat.first_block) * BLOCK)?;
        self.read(tail, stat.tail_position)?;
        Ok(bytes)
    }

    /// Names and types of a directory's entries, `.` and `..` left out, in byte order.
    ///
    /// # Errors
    /// When the image cannot be read or is damaged.
    pub fn entries(&self, directory: &Stat) -> Result<Vec<(Vec<u8>, Stat)>, ReadError> {
        let content = self.content(directory, u64::MAX)?;
        let mut entries = Vec::new();
        for block in content.chunks(BLOCK_BYTES) {
            for (name, number) in names(block)? {
                if name != b"." && name != b".." {
                    entries.push((name.to_vec(), self.stat(number)?));
                }
            }
        }
        Ok(entries)
    }

    fn find(&self, directory: &Stat, wanted: &[u8]) -> Result<Option<u64>, ReadError> {
        // Block by block: a damaged size must not become as much memory.
        let mut buffer = [0; BLOCK_BYTES];
        let mut offset = 0;
        while offset < directory.size_bytes {
            let left = usize::try_from(directory.size_bytes - offset).unwrap_or(usize::MAX);
            let block = &mut buffer[..left.min(BLOCK_BYTES)];
            let position = if directory.inline && left < BLOCK_BYTES {
                directory.tail_position
            } else {
                (u64::from(directory.first_block) * BLOCK).saturating_add(offset)
            };
            self.read(block, position)?;
            if let Some((_, number)) = names(block)?.into_iter().find(|(name, _)| *name == wanted) {
                return Ok(Some(number));
            }
            offset += block.len() as u64;
        }
        Ok(None)
    }

    fn stat(&self, number: u64) -> Result<Stat, ReadError> {
        let damaged = || ReadError::Damaged { what: "inode" };
        let position = number.checked_mul(SLOT).ok_or_else(damaged)?;
        let mut inode = [0; EXTENDED_INODE_BYTES];
        let (compact, extended) = inode.split_at_mut(COMPACT_INODE_BYTES);
        self.read(compact, position)?;
        let format = u16_at(compact, 0);
        let is_extended = format & 1 == 1;
        if is_extended {
            self.read(extended, position.saturating_add(COMPACT_INODE_BYTES as u64))?;
        }
        let mode = u16_at(&inode, 4);
        let mut metadata = Metadata::with_permissions(mode & 0o7777);
        let (size_bytes, links);
        if is_extended {
            size_bytes = u64::from(u32_at(&inode, 8)) | u64::from(u32_at(&inode, 12)) << 32;
            metadata.uid = u32_at(&inode, 24);
            metadata.gid = u32_at(&inode, 28);
            let seconds = u64::from(u32_at(&inode, 32)) | u64::from(u32_at(&inode, 36)) << 32;
            metadata.modified_seconds = seconds.cast_signed();
            metadata.modified_nanoseconds = u32_at(&inode, 40);
            links = u32_at(&inode, 44);
        } else {
            size_bytes = u64::from(u32_at(&inode, 8));
            metadata.uid = u32::from(u16_at(&inode, 24));
            metadata.gid = u32::from(u16_at(&inode, 26));
            links = u32::from(u16_at(&inode, 6));
        }
        let inode_bytes = if is_extended { EXTENDED_INODE_BYTES } else { COMPACT_INODE_BYTES };
        let attribute_bytes = match u16_at(&inode, 2) {
            0 => 0,
            count => 12 + 4 * (usize::from(count) - 1),
        };
        let mut encoded = vec![0; attribute_bytes];
        self.read(&mut encoded, position + inode_bytes as u64)?;
        if attribute_bytes > 0 {
            metadata.attributes =
                attributes::decode(&encoded).ok_or(ReadError::Damaged { what: "attributes" })?;
        }
        Ok(Stat {
            kind: FileType::from_mode(mode).ok_or_else(damaged)?,
            metadata,
            size_bytes,
            links,
            first_block: u32_at(&inode, 16),
            inline: format >> 1 & 7 == 2,
            tail_position: position + (inode_bytes + attribute_bytes) as u64,
        })
    }

    fn read(&self, bytes: &mut [u8], position: u64) -> Result<(), ReadError> {
        let end = position.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length_bytes) {
            return Err(ReadError::Damaged { what: "position" });
        }
        self.file.read_exact_at(bytes, position).map_err(ReadError::Input)
    }
}

/// Names and inode numbers of a block of directory entries.
fn names(block: &[u8]) -> Result<Vec<(&[u8], u64)>, ReadError> {
    let damaged = || ReadError::Damaged { what: "directory" };
    let first = block.get(..DIRENT_BYTES).ok_or_else(damaged)?;
    let table_bytes = usize::from(u16_at(first, 8));
    if table_bytes == 0 || table_bytes % DIRENT_BYTES != 0 {
        return Err(damaged());
    }
    let table = block.get(..table_bytes).ok_or_else(damaged)?;
    let mut found = Vec::with_capacity(table_bytes / DIRENT_BYTES);
    let mut entries = table.chunks_exact(DIRENT_BYTES).peekable();
    while let Some(entry) = entries.next() {
        let start = usize::from(u16_at(entry, 8));
        let name = match entries.peek() {
            Some(next) => block.get(start..usize::from(u16_at(next, 8))).ok_or_else(damaged)?,
            // The last name of a block ends where its padding begins.
            None => {
                block.get(start..).ok_or_else(damaged)?.split(|byte| *byte == 0).next().unwrap_or_default()
            }
        };
        found.push((name, u64::from(u32_at(entry, 0)) | u64::from(u32_at(entry, 4)) << 32));
    }
    Ok(found)
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}
