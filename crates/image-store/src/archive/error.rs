//! Why an archive could not be loaded.

use bulkhead_oci::{Digest, DigestError, ReferenceError};
use thiserror::Error;

use crate::tar::TarError;

/// Why an archive could not be loaded. Names are shown escaped: they are the archive's text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It is no tar stream, or a damaged one.
    #[error("it is not a valid tar archive")]
    Tar(#[from] TarError),
    /// It cannot be read or decompressed.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// Neither `index.json` of an OCI layout nor `manifest.json` of `docker save`.
    #[error("it holds no image: neither index.json nor manifest.json is there")]
    NoImage,
    /// A name that leads out of the archive.
    #[error("its entry `{}` has a path that leads out of the archive", path.escape_ascii())]
    Path {
        /// The name.
        path: Vec<u8>,
    },
    /// One name stands for two contents.
    #[error("it has two entries `{}`", path.escape_ascii())]
    Duplicate {
        /// The name.
        path: Vec<u8>,
    },
    /// A device, fifo or other thing that no archive of images has.
    #[error("its entry `{}` is neither a file nor a directory", path.escape_ascii())]
    Kind {
        /// The name.
        path: Vec<u8>,
    },
    /// A link to something that is not in the archive, or in a circle.
    #[error("its link `{}` leads to no file of the archive", path.escape_ascii())]
    Link {
        /// The name.
        path: Vec<u8>,
    },
    /// More entries than any image has parts.
    #[error("it has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// More data than allowed.
    #[error("it unpacks to more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// `index.json` or `manifest.json` is not JSON of the right shape.
    #[error("its `{name}` cannot be parsed")]
    Syntax {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file that `manifest.json` names is not there.
    #[error("its manifest names `{}`, which is not there", path.escape_ascii())]
    Missing {
        /// The name.
        path: Vec<u8>,
    },
    /// A file's name under `blobs/` is not the digest of its content.
    #[error("its blob {expected} has the digest {actual}")]
    DigestMismatch {
        /// By its name.
        expected: Digest,
        /// By its content.
        actual: Digest,
    },
    /// A file under `blobs/sha256/` has a name that is no digest.
    #[error("its blob `{}` has an invalid name", path.escape_ascii())]
    BlobName {
        /// The name.
        path: Vec<u8>,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// A tag that is no image reference.
    #[error("its tag `{tag}` is not an image reference")]
    Tag {
        /// The tag, escaped.
        tag: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// A document that is larger than any.
    #[error("its `{}` is larger than {limit_bytes} bytes", path.escape_ascii())]
    DocumentTooLarge {
        /// The name.
        path: Vec<u8>,
        /// The limit.
        limit_bytes: usize,
    },
}
