//! The 512-byte header block and what an entry is in the end.

use std::collections::BTreeMap;

use super::TarError;
use super::extended::Extended;
use super::number::{parse_decimal, parse_field, parse_time};

pub(super) const BLOCK_BYTES: usize = 512;

/// Type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Another name of an earlier file.
    HardLink,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharacterDevice,
    /// Block device.
    BlockDevice,
    /// Directory.
    Directory,
    /// Named pipe.
    Fifo,
}

/// An entry with all extended headers applied. Paths are as the archive has them: anything but NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type.
    pub kind: Kind,
    /// Name.
    pub path: Vec<u8>,
    /// Target of hard and symbolic links.
    pub link_target: Vec<u8>,
    /// Permission, set-id and sticky bits.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub modified_seconds: i64,
    /// Nanoseconds within the second.
    pub modified_nanoseconds: u32,
    /// Length of the content, holes of sparse files included.
    pub size_bytes: u64,
    /// Major and minor device number.
    pub device: (u32, u32),
    /// Extended attributes.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A header block whose checksum is right.
pub(super) struct Header<'a> {
    pub(super) block: &'a [u8; BLOCK_BYTES],
    pub(super) position_bytes: u64,
}

impl<'a> Header<'a> {
    pub(super) fn check(block: &'a [u8; BLOCK_BYTES], position_bytes: u64) -> Result<Self, TarError> {
        let outside = block[..148].iter().chain(&block[156..]);
        // Old Sun tars summed signed characters.
        let (unsigned, signed) = outside.fold((256_i64, 256_i64), |(unsigned, signed), byte| {
            (unsigned + i64::from(*byte), signed + i64::from(byte.cast_signed()))
        });
        match parse_field(&block[148..156]) {
            Some(sum) if sum == unsigned || sum == signed => Ok(Self { block, position_bytes }),
            _ => Err(TarError::Checksum { position_bytes }),
        }
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn field_error(&self, field: &'static str) -> TarError {
        TarError::Field { position_bytes: self.position_bytes, field }
    }

    /// Bytes of content in the stream, before PAX overrides it.
    pub(super) fn size_bytes(&self) -> Result<u64, TarError> {
        parse_field(&self.block[124..136])
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| self.field_error("size"))
    }

    pub(super) fn is_gnu(&self) -> bool {
        &self.block[257..265] == b"ustar  \0"
    }

    fn is_posix(&self) -> bool {
        &self.block[257..263] == b"ustar\0"
    }

    fn owner(&self, extended: Option<&[u8]>, field: &[u8], name: &'static str) -> Result<u32, TarError> {
        let number = match extended {
            Some(text) => parse_decimal(text),
            None => parse_field(field).and_then(|number| u64::try_from(number).ok()),
        };
        // The last number means "nobody in particular" to chown(2) and cannot own a file.
        number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number != u32::MAX)
            .ok_or_else(|| self.field_error(name))
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.block[..100]);
        let prefix = if self.is_posix() { until_nul(&self.block[345..500]) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// The entry, with `extended` applied and `size_bytes` as its logical length.
    pub(super) fn entry(&self, kind: Kind, extended: Extended, size_bytes: u64) -> Result<Entry, TarError> {
        let block = self.block;
        let (modified_seconds, modified_nanoseconds) = match extended.record(b"mtime") {
            Some(text) => parse_time(text).ok_or_else(|| self.field_error("mtime"))?,
            None => (parse_field(&block[136..148]).ok_or_else(|| self.field_error("mtime"))?, 0),
        };
        let mode = parse_field(&block[100..108]).ok_or_else(|| self.field_error("mode"))?;
        let uid = self.owner(extended.record(b"uid"), &block[108..116], "uid")?;
        let gid = self.owner(extended.record(b"gid"), &block[116..124], "gid")?;
        let device = |field: &[u8], name| {
            let number = parse_field(field).and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| self.field_error(name))
        };
        let device = match kind {
            Kind::CharacterDevice | Kind::BlockDevice => (
                device(&block[329..337], "major device number")?,
                device(&block[337..345], "minor device number")?,
            ),
            _ => (0, 0),
        };
        let path = extended.path().map_or_else(|| self.path(), <[u8]>::to_vec);
        let link_target =
            extended.link_path().map_or_else(|| until_nul(&block[157..257]).to_vec(), <[u8]>::to_vec);
        if path.contains(&0) {
            return Err(self.field_error("path"));
        }
        if link_target.contains(&0) {
            return Err(self.field_error("link target"));
        }
        Ok(Entry {
            kind,
            path,
            link_target,
            permissions: u16::try_from(mode & 0o7777).unwrap_or(0),
            uid,
            gid,
            modified_seconds,
            modified_nanoseconds,
            size_bytes,
            device,
            attributes: extended.into_attributes(),
        })
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
