//! Images as `image list` and `image inspect` show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{Descriptor, Platform};

/// One entry of `image list` and `image inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageResource {
    /// 64 hex digits of the digest.
    pub id: String,
    /// Name and descriptor.
    pub configuration: ImageEntry,
    /// One for each platform present.
    pub variants: Vec<ImageVariant>,
}

/// Name and descriptor of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageEntry {
    /// RFC 3339, whole seconds, UTC: when it came into the store.
    pub creation_date: String,
    /// Full reference.
    pub name: String,
    /// Of the index or manifest.
    pub descriptor: Descriptor,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageVariant {
    /// Platform.
    pub platform: Platform,
    /// Of the manifest.
    pub digest: String,
    /// Manifest, config and layers, compressed.
    pub size: u64,
    /// Image configuration.
    pub config: VariantConfiguration,
}

/// The image configuration's documented part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantConfiguration {
    /// RFC 3339
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Architecture.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// Defaults of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ImageDefaults>,
    /// Layers.
    pub rootfs: ImageRoot,
    /// History.
    pub history: Vec<HistoryEntry>,
}

/// Keys as the OCI image specification spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDefaults {
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal of `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// `rootfs` of an image configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRoot {
    /// layers
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers.
    pub diff_ids: Vec<String>,
}

/// One step of an image's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// RFC 3339
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// No layer of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

/// A step of an image's making as `image history` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryStep {
    /// 64 hex digits of the image's digest, of its last step only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// RFC 3339
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Command; empty if nobody says.
    pub created_by: String,
    /// Of its layer, unpacked; 0 if it made none.
    pub size: u64,
    /// Comment.
    pub comment: String,
}
