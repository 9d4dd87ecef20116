//! What can be wrong with a tar stream.

use thiserror::Error;

/// Why a tar stream could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TarError {
    /// The bytes below could not be read or decompressed.
    #[error("cannot read the tar stream")]
    Input(#[source] std::io::Error),
    /// The stream ends within an entry.
    #[error("the tar stream is truncated at byte {position_bytes}")]
    Truncated {
        /// Where it ends.
        position_bytes: u64,
    },
    /// A header's checksum is wrong: this is no tar stream, or a damaged one.
    #[error("the tar header at byte {position_bytes} has a wrong checksum")]
    Checksum {
        /// Where the header is.
        position_bytes: u64,
    },
    /// A number is malformed, negative or too large.
    #[error("the tar header at byte {position_bytes} has an invalid {field}")]
    Field {
        /// Where the header is.
        position_bytes: u64,
        /// Which number.
        field: &'static str,
    },
    /// An extended header is malformed.
    #[error("the extended tar header at byte {position_bytes} is malformed")]
    Extended {
        /// Where the header is.
        position_bytes: u64,
    },
    /// Extended headers of one entry are larger than anyone needs.
    #[error("the extended tar headers at byte {position_bytes} are larger than {limit_bytes} bytes")]
    ExtendedTooLarge {
        /// Where the header is.
        position_bytes: u64,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// A sparse file's map is malformed, overlapping or does not fit its data.
    #[error("the sparse map of the tar entry at byte {position_bytes} is invalid")]
    Sparse {
        /// Where the header is.
        position_bytes: u64,
    },
    /// A kind of entry that no image has: multi-volume, incremental dump, unknown.
    #[error("the tar entry at byte {position_bytes} has the unsupported type `{}`", kind.escape_ascii())]
    Kind {
        /// Where the header is.
        position_bytes: u64,
        /// The type flag.
        kind: u8,
    },
}
