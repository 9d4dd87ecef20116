//! What can go wrong with a tree.

use rustix::io::Errno;
use thiserror::Error;

use crate::tar::TarError;

/// Why a tree could not be packed or extracted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Nothing has this name, or it cannot be looked up.
    #[error("cannot open '{path}'")]
    Open {
        /// Path in the tree.
        path: String,
        /// The reason.
        #[source]
        source: Errno,
    },
    /// A file, directory or link cannot be read.
    #[error("cannot read '{path}'")]
    Read {
        /// Path in the tree.
        path: String,
        /// The reason.
        #[source]
        source: Errno,
    },
    /// Directories within directories beyond any use.
    #[error("'{path}' is more than {limit} directories deep")]
    TooDeep {
        /// Path in the tree.
        path: String,
        /// What is allowed.
        limit: usize,
    },
    /// A file whose size does not say how much there is to read.
    #[error("'{path}' does not tell its size, and is longer than {} MiB", limit_bytes >> 20)]
    Unsized {
        /// Path in the tree.
        path: String,
        /// What is read ahead at most.
        limit_bytes: usize,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Output(#[source] std::io::Error),
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Archive(#[from] TarError),
    /// The archive has nothing in it.
    #[error("the archive is empty")]
    Empty,
    /// A path leads out of where it was to be extracted.
    #[error("the archive names '{path}', which leads out of the destination")]
    Escapes {
        /// As the archive has it.
        path: String,
    },
    /// The thing to copy is no file, directory or link.
    #[error("'{path}' is {what}, which cannot be copied")]
    Special {
        /// Path in the tree.
        path: String,
        /// "a named pipe", …
        what: &'static str,
    },
    /// A directory is to replace something else, or the reverse.
    #[error("'{path}' exists and is {what}")]
    Occupied {
        /// Path at the destination.
        path: String,
        /// "a directory" or "no directory".
        what: &'static str,
    },
    /// A directory takes the place of nothing else.
    #[error("cannot copy a directory onto '{path}', which is no directory")]
    OntoFile {
        /// Path at the destination.
        path: String,
    },
    /// What is at the destination is not replaced.
    #[error("'{path}' is {what}: the destination must be a directory or a regular file")]
    Unsuitable {
        /// Path at the destination.
        path: String,
        /// "a named pipe", …
        what: &'static str,
    },
    /// The destination must exist.
    #[error("destination directory '{path}' does not exist")]
    NoDirectory {
        /// Path of the destination.
        path: String,
    },
    /// Something cannot be created.
    #[error("cannot create '{path}'")]
    Create {
        /// Path at the destination.
        path: String,
        /// The reason.
        #[source]
        source: Errno,
    },
    /// A file's bytes cannot be written.
    #[error("cannot write '{path}'")]
    Write {
        /// Path at the destination.
        path: String,
        /// The reason.
        #[source]
        source: Errno,
    },
    /// Something cannot be removed.
    #[error("cannot remove '{path}'")]
    Remove {
        /// Path from where the removal began.
        path: String,
        /// The reason.
        #[source]
        source: Errno,
    },
    /// There is no end to what is to be removed.
    #[error("'{path}' holds too much to be removed")]
    TooMuch {
        /// Path from where the removal began.
        path: String,
    },
    /// Owner, permissions, times or extended attributes cannot be set.
    #[error("cannot set the attributes of '{path}'")]
    Attributes {
        /// Path at the destination.
        path: String,
        /// The reason.
        #[source]
        source: Errno,
    },
}

impl TreeError {
    /// Whether the thing to copy does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Open { source: Errno::NOENT | Errno::NOTDIR, .. } | Self::NoDirectory { .. })
    }

    /// Whether the request makes no sense for what is there.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Special { .. } | Self::Occupied { .. } | Self::OntoFile { .. } | Self::Unsuitable { .. }
        )
    }
}

pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
