//! Why a layer could not be converted.

use bulkhead_erofs::WriteError;
use thiserror::Error;

use crate::tar::TarError;

/// Why a layer could not be converted. Paths are shown escaped: they are the image's text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The tar stream is malformed or cannot be read.
    #[error("the layer is not a valid tar stream")]
    Tar(#[from] TarError),
    /// An entry cannot be stored, or the disk is full.
    #[error("cannot store `{}`", path.escape_ascii())]
    Store {
        /// The entry.
        path: Vec<u8>,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// The image as a whole cannot be written.
    #[error("cannot write the layer's EROFS image")]
    Image(#[source] WriteError),
    /// The compressed stream cannot be set up.
    #[error("cannot decompress the layer")]
    Decompress(#[source] std::io::Error),
    /// An entry's name is empty, too long, or leads out of the root.
    #[error("the layer's entry `{}` has an invalid path", path.escape_ascii())]
    Path {
        /// The path.
        path: Vec<u8>,
    },
    /// An entry lies below something that is no directory.
    #[error("the layer's entry `{}` lies below a file", path.escape_ascii())]
    ParentNotDirectory {
        /// The path.
        path: Vec<u8>,
    },
    /// The root itself is given as something else than a directory.
    #[error("the layer replaces its root by a file")]
    Root,
    /// More than 40 symbolic links on the way, as Linux counts.
    #[error("the layer's entry `{}` leads through too many symbolic links", path.escape_ascii())]
    SymlinkLoop {
        /// The path.
        path: Vec<u8>,
    },
    /// More directories within each other than any path can name.
    #[error("the layer's entry `{}` is nested too deeply", path.escape_ascii())]
    TooDeep {
        /// The path.
        path: Vec<u8>,
    },
    /// A hard link's target is missing, a directory, later in the layer, or outside.
    #[error("the hard link `{}` leads to `{}`, which is no file of this layer", path.escape_ascii(), target.escape_ascii())]
    HardLink {
        /// The link.
        path: Vec<u8>,
        /// What it names.
        target: Vec<u8>,
    },
    /// A whiteout of nothing, of `.` or of `..`.
    #[error("the whiteout `{}` names no file", path.escape_ascii())]
    Whiteout {
        /// The path.
        path: Vec<u8>,
    },
    /// More than [`crate::Limits::max_layer_entries`].
    #[error("the layer has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// Names, links and directories take more memory than the entries may need.
    #[error("the layer's names and links take more than {limit_bytes} bytes")]
    TooMuchMetadata {
        /// The limit.
        limit_bytes: u64,
    },
    /// The file system of the store has next to no space left.
    #[error("no space left on device but the last {reserve_bytes} bytes, which are kept for others")]
    Reserve {
        /// What is kept.
        reserve_bytes: u64,
    },
    /// More than [`crate::Limits::max_layer_bytes`].
    #[error("the layer unpacks to more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
}
