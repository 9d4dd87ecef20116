//! Lines of the event streams: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// What `run`, `start`, `exec`, `pull` and `load` tell while they work. `Failed`, `Exited`,
/// `Detached`, `Finished` and `ImageMade` end a stream; a detached `run`, `start` or `exec` ends with `Started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum StreamEvent {
    /// Part of a pull or load moved on.
    #[serde(rename_all = "camelCase")]
    Progress {
        /// What is worked on: a short layer digest or a file name.
        item: String,
        /// So far.
        completed_bytes: u64,
        /// Absent when unknown.
        total_bytes: Option<u64>,
    },
    /// One line for people, on stderr.
    #[serde(rename_all = "camelCase")]
    Notice {
        /// Without newline.
        message: String,
    },
    /// The container has its id; nothing runs yet.
    #[serde(rename_all = "camelCase")]
    Created {
        /// Container id.
        id: String,
    },
    /// The process was executed.
    #[serde(rename_all = "camelCase")]
    Started {
        /// Container id.
        id: String,
        /// 0 for the container's first process.
        process: u32,
    },
    /// The client was let go of; the process goes on. Ends the stream.
    #[serde(rename_all = "camelCase")]
    Detached {
        /// Container id.
        id: String,
        /// Why.
        reason: DetachReason,
    },
    /// The process ended and all its output was delivered.
    #[serde(rename_all = "camelCase")]
    Exited {
        /// 0-255
        exit_code: i32,
        /// One sentence when it was not the process's own doing.
        message: Option<String>,
    },
    /// A pull or load is complete.
    #[serde(rename_all = "camelCase")]
    Finished {
        /// Full references, sorted.
        references: Vec<String>,
    },
    /// An image was made and is durable.
    #[serde(rename_all = "camelCase")]
    ImageMade {
        /// 64 hex digits of its digest.
        id: String,
    },
    /// It failed.
    Failed(ApiError),
}

/// Why a client was let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DetachReason {
    /// Its detach keys were typed.
    Keys,
    /// Another client took its place.
    Replaced,
}
