//! References from one document to content (OCI image specification, "Content Descriptors").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType, Platform};

/// The tag or name of an entry of an OCI layout's index.
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full image name that containerd and Docker put into an archive's index.
pub const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Marks BuildKit's attestations (value `attestation-manifest`) in an image index.
pub const ANNOTATION_DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Type, digest and size of a piece of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// The hash of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Other places to load it from. Kept for display, never contacted: they lead to foreign hosts.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::configuration::null_as_default"
    )]
    pub urls: Vec<String>,
    /// Free notes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::configuration::null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest's image was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact that a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of content that is at hand.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size_bytes: u64) -> Self {
        Self {
            media_type,
            digest,
            size_bytes,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// BuildKit's provenance and SBOM entries stand in an index beside the images they describe.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(ANNOTATION_DOCKER_REFERENCE_TYPE)
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }
}
