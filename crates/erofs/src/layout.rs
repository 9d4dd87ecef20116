//! On-disk structures (fs/erofs/erofs_fs.h), little-endian throughout.

use crate::checksum::crc32c;
use crate::{Identity, Metadata};

/// Size of a block in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// [`BLOCK_BYTES`] for arithmetic on positions.
pub(crate) const BLOCK: u64 = 4096;
/// Inode numbers count slots of this size from the start of the image.
pub(crate) const SLOT: u64 = 32;
/// [`SLOT`] for lengths in memory.
pub(crate) const SLOT_BYTES: usize = 32;
/// Inode number of the root.
pub(crate) const ROOT_NUMBER: u8 = 36;
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;
pub(crate) const SUPERBLOCK_BYTES: usize = 128;
/// The root's inode number has 16 bits, so it follows the superblock at once, as mkfs.erofs does it.
pub(crate) const ROOT_POSITION: usize = SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES;
const _: () = assert!(ROOT_POSITION == ROOT_NUMBER as usize * SLOT_BYTES);
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;
pub(crate) const DIRENT_BYTES: usize = 12;
pub(crate) const EXTENDED_INODE_BYTES: usize = 64;
pub(crate) const COMPACT_INODE_BYTES: usize = 32;

const FEATURE_COMPAT_CHECKSUM: u32 = 1;
/// The time of an extended inode is its modification time.
const FEATURE_COMPAT_MTIME: u32 = 2;

/// Type of a file; the number is that of directory entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileType {
    /// Regular file.
    Regular = 1,
    /// Directory.
    Directory = 2,
    /// Character device.
    CharacterDevice = 3,
    /// Block device.
    BlockDevice = 4,
    /// Named pipe.
    Fifo = 5,
    /// Unix socket.
    Socket = 6,
    /// Symbolic link.
    Symlink = 7,
}

impl FileType {
    /// The type's bits in `st_mode`.
    #[must_use]
    pub fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    pub(crate) fn from_mode(mode: u16) -> Option<Self> {
        let kinds = [
            Self::Fifo,
            Self::CharacterDevice,
            Self::Directory,
            Self::BlockDevice,
            Self::Regular,
            Self::Symlink,
            Self::Socket,
        ];
        kinds.into_iter().find(|kind| kind.mode_bits() == mode & 0o170_000)
    }
}

/// Where a file's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// `EROFS_INODE_FLAT_PLAIN`: all in blocks from this one on.
    Plain { first_block: u32 },
    /// `EROFS_INODE_FLAT_INLINE`: full blocks from this one on, the rest behind the inode.
    Inline { first_block: u32 },
    /// A device number in the kernel's `new_encode_dev` form; 0 for fifos and sockets.
    Device { number: u32 },
}

/// An inode before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inode<'a> {
    pub(crate) kind: FileType,
    pub(crate) metadata: &'a Metadata,
    pub(crate) attribute_bytes: usize,
    pub(crate) size_bytes: u64,
    pub(crate) content: Content,
    pub(crate) links: u32,
    /// Shown by `stat` on 32-bit systems only.
    pub(crate) serial: u32,
}

impl Inode<'_> {
    /// Compact inodes have no time of their own and 16 bits for owners and links.
    pub(crate) fn is_compact(&self) -> bool {
        let metadata = self.metadata;
        metadata.modified_seconds == 0
            && metadata.modified_nanoseconds == 0
            && u16::try_from(metadata.uid).is_ok()
            && u16::try_from(metadata.gid).is_ok()
            && u32::try_from(self.size_bytes).is_ok()
            && u16::try_from(self.links).is_ok()
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        if self.is_compact() { COMPACT_INODE_BYTES } else { EXTENDED_INODE_BYTES }
    }

    #[expect(clippy::cast_possible_truncation, reason = "`is_compact` compared the values with these types")]
    pub(crate) fn encode(&self, record: &mut Vec<u8>) {
        let compact = self.is_compact();
        let (layout, union) = match self.content {
            Content::Plain { first_block } => (0_u16, first_block),
            Content::Inline { first_block } => (2, first_block),
            Content::Device { number } => (0, number),
        };
        // The count says how many 4-byte units follow the 12-byte header, plus one for the header.
        let attribute_count =
            if self.attribute_bytes == 0 { 0 } else { (self.attribute_bytes - 12) / 4 + 1 } as u16;
        let metadata = self.metadata;
        record.extend((layout << 1 | u16::from(!compact)).to_le_bytes());
        record.extend(attribute_count.to_le_bytes());
        record.extend((self.kind.mode_bits() | metadata.permissions & 0o7777).to_le_bytes());
        if compact {
            record.extend((self.links as u16).to_le_bytes());
            record.extend((self.size_bytes as u32).to_le_bytes());
            record.extend([0; 4]);
            record.extend(union.to_le_bytes());
            record.extend(self.serial.to_le_bytes());
            record.extend((metadata.uid as u16).to_le_bytes());
            record.extend((metadata.gid as u16).to_le_bytes());
            record.extend([0; 4]);
        } else {
            record.extend([0; 2]);
            record.extend(self.size_bytes.to_le_bytes());
            record.extend(union.to_le_bytes());
            record.extend(self.serial.to_le_bytes());
            record.extend(metadata.uid.to_le_bytes());
            record.extend(metadata.gid.to_le_bytes());
            record.extend(metadata.modified_seconds.to_le_bytes());
            record.extend(metadata.modified_nanoseconds.to_le_bytes());
            record.extend(self.links.to_le_bytes());
            record.extend([0; 16]);
        }
    }
}

/// `new_encode_dev` of the kernel; `None` where the number does not fit.
pub(crate) fn encode_device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | major << 8 | (minor & !0xff) << 12)
}

/// Fills in the superblock of a complete block 0, checksum included.
pub(crate) fn write_superblock(block: &mut [u8; BLOCK_BYTES], inodes: u64, blocks: u32, identity: &Identity) {
    let mut fields = Vec::with_capacity(SUPERBLOCK_BYTES);
    fields.extend(MAGIC.to_le_bytes());
    fields.extend([0; 4]);
    fields.extend((FEATURE_COMPAT_CHECKSUM | FEATURE_COMPAT_MTIME).to_le_bytes());
    fields.extend([12, 0]); // log2 of the block size; no extension slots
    fields.extend([ROOT_NUMBER, 0]);
    fields.extend(inodes.to_le_bytes());
    fields.extend([0; 12]); // build time: 1970, which is also the time of compact inodes
    fields.extend(blocks.to_le_bytes());
    fields.extend([0; 8]); // metadata and shared attributes are addressed from block 0
    fields.extend(identity.uuid);
    fields.extend(identity.label);
    fields.resize(SUPERBLOCK_BYTES, 0); // no incompatible features
    block[SUPERBLOCK_OFFSET..ROOT_POSITION].copy_from_slice(&fields);
    let checksum = crc32c(&block[SUPERBLOCK_OFFSET..]);
    block[SUPERBLOCK_OFFSET + 4..SUPERBLOCK_OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
}
