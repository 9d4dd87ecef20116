//! What can go wrong while an image is written.

use thiserror::Error;

/// Why an image could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused bytes.
    #[error("cannot write the EROFS image")]
    Output(#[source] std::io::Error),
    /// A name that no directory entry can have: empty, `.`, `..`, with `/` or NUL, or over 255 bytes.
    #[error("`{}` is not a valid file name", name.escape_ascii())]
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// The directory has an entry of that name already.
    #[error("`{}` exists already", name.escape_ascii())]
    Exists {
        /// The name.
        name: Vec<u8>,
    },
    /// EROFS has no number for the attribute's prefix, or name or value are too long.
    #[error("the extended attribute `{}` cannot be stored", name.escape_ascii())]
    Attribute {
        /// Its name.
        name: Vec<u8>,
    },
    /// All attributes of one file together exceed what an inode can carry.
    #[error("the extended attributes of one file are too large: {size_bytes} bytes")]
    AttributesTooLarge {
        /// Their encoded size.
        size_bytes: usize,
    },
    /// Empty, longer than 4095 bytes or with a NUL byte.
    #[error("a symbolic link's target of {length_bytes} bytes is not valid")]
    LinkTarget {
        /// Its length.
        length_bytes: usize,
    },
    /// A device number that Linux cannot represent: 12 bits of major, 20 of minor.
    #[error("the device number {major}:{minor} is out of range")]
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// One file has more names than its inode can count.
    #[error("a file has {links} hard links, more than can be stored")]
    TooManyLinks {
        /// How many.
        links: u32,
    },
    /// More than 2^31 files or directories, or 4 GiB of names.
    #[error("the image has too many entries")]
    TooManyEntries,
    /// More than 16 TiB.
    #[error("the image is too large for EROFS")]
    TooLarge,
}
