//! What the caller says about files and learns about the image.

use crate::Attribute;

/// Owner, permissions, time and attributes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission, set-id and sticky bits; anything above 0o7777 is dropped.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970; may be negative.
    pub modified_seconds: i64,
    /// Modification time, nanoseconds within the second.
    pub modified_nanoseconds: u32,
    /// Extended attributes; see [`crate::is_storable`].
    pub attributes: Vec<Attribute>,
}

impl Metadata {
    /// Metadata of a file of root, dated 1970, with the given permission bits.
    #[must_use]
    pub fn with_permissions(permissions: u16) -> Self {
        Self { permissions, ..Self::default() }
    }

    /// Sets an attribute, replacing one of the same name.
    pub fn set_attribute(&mut self, name: &[u8], value: &[u8]) {
        match self.attributes.iter_mut().find(|attribute| attribute.name == name) {
            Some(known) => known.value = value.to_vec(),
            None => self.attributes.push(Attribute { name: name.to_vec(), value: value.to_vec() }),
        }
    }
}

/// A file without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A character device.
    CharacterDevice {
        /// Driver, 12 bits.
        major: u32,
        /// Device, 20 bits.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Driver, 12 bits.
        major: u32,
        /// Device, 20 bits.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket's name.
    Socket,
}

/// What tells images apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// File system UUID.
    pub uuid: [u8; 16],
    /// Volume name, padded with zeros.
    pub label: [u8; 16],
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The image's length, a multiple of 4096; holes count.
    pub length_bytes: u64,
    /// Files, directories and links, hard links counted once.
    pub inodes: u64,
}
