//! Files of containers: requests to copy them, and how they differ from the image.

use serde::{Deserialize, Serialize};

/// Writes a file or a tree of a container to the passed descriptor, as a tar stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackRequest {
    /// Absolute, in the container.
    pub path: String,
    /// Follow a link at the end of the path.
    #[serde(default)]
    pub follow_link: bool,
    /// What the top is called in the stream; its children are below that name.
    pub name: String,
}

/// Extracts the tar stream of the passed descriptor in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtractRequest {
    /// Absolute, in the container.
    pub path: String,
    /// How it becomes files.
    pub placement: Placement,
    /// Keep the owners that the stream names; else everything belongs to root.
    #[serde(default)]
    pub keep_owner: bool,
}

/// How a stream becomes files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Placement {
    /// It is one tree whose top is called ".". It goes into a directory by its name, else it gets the
    /// name of the path; missing parents are made.
    Copy {
        /// Last name of the source's path; empty if it has none.
        source_name: String,
        /// Merge into a directory that exists.
        contents_only: bool,
    },
    /// It is any archive, unpacked in a directory that exists.
    Unpack,
}

/// A difference between a container's root and its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Of which kind.
    pub kind: ChangeKind,
    /// Absolute, in the container; bytes that are no UTF-8 are replaced.
    pub path: String,
}

/// Kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// The image has nothing there.
    Added,
    /// The image has something else there, or a directory has changes in it.
    Changed,
    /// The image has something there.
    Deleted,
}

impl ChangeKind {
    /// The letter that `diff` shows.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}
