//! What happened: the lines of `events`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemEvent {
    /// RFC 3339 with microseconds, UTC.
    pub time: String,
    /// Unix time in microseconds; never smaller than that of the event before.
    pub time_us: i64,
    /// What kind of object.
    #[serde(rename = "type")]
    pub kind: SystemEventKind,
    /// `start`, `die`, `pull`, …: Docker's words. Of kind `events`: `dropped`.
    pub action: String,
    /// Container id, image reference, network or volume name; empty for kind `events`.
    pub id: String,
    /// What there is to know: a container's `image` and labels, and for each action its own, such as
    /// `exitCode`, `signal`, `oldName`, `count`.
    pub attributes: BTreeMap<String, String>,
}

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SystemEventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network; `connect` and `disconnect` have a `container`.
    Network,
    /// A volume.
    Volume,
    /// The stream of events itself: `dropped` says how many the reader was too slow for.
    Events,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

impl SystemEventKind {
    /// As filters and lines have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Events => "events",
            Self::Unknown => "unknown",
        }
    }
}
