//! What is mounted in a container.

use serde::{Deserialize, Serialize};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Kind: `{"tmpfs":{}}`, `{"virtiofs":{}}`, …
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// Host path, volume disk or empty.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// ro, size=…
    pub options: Vec<String>,
}

/// Kind of a mount, shaped as the compatible JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountKind {
    /// Memory.
    Tmpfs {},
    /// Host folder.
    Virtiofs {},
    /// Volume. The name is empty in the request for an anonymous one.
    Volume {
        /// Name.
        name: String,
        /// File system on its disk.
        #[serde(default = "ext4")]
        format: String,
        /// How the host caches it.
        #[serde(default)]
        cache: CacheMode,
        /// What its flushes mean.
        #[serde(default)]
        sync: SyncMode,
        /// Made for this mount alone, and removed with the container by `delete --volumes`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anonymous: bool,
    },
}

impl MountKind {
    /// A volume as requests and records have it.
    #[must_use]
    pub fn volume(name: impl Into<String>) -> Self {
        let (cache, sync) = (CacheMode::default(), SyncMode::default());
        Self::Volume { name: name.into(), format: ext4(), cache, sync, anonymous: false }
    }
}

fn ext4() -> String {
    "ext4".to_owned()
}

/// How the host caches a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CacheMode {
    /// In its page cache.
    On {},
}

impl Default for CacheMode {
    fn default() -> Self {
        Self::On {}
    }
}

/// What a guest's flush of a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SyncMode {
    /// Everything written before is on the host's disk.
    Fsync {},
}

impl Default for SyncMode {
    fn default() -> Self {
        Self::Fsync {}
    }
}
