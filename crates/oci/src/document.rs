//! Image manifests and indexes (OCI image specification 1.1; Docker image manifest version 2, schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Descriptor, MediaType, Platform};

/// The largest manifest or index that is accepted; registries set the same limit.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// The most layers that an image may have. Each is a partition of the image disk, of which the kernel has 255
/// (`DISK_MAX_PARTS` of include/linux/blkdev.h), and so are emulators. Docker has half as many.
pub const MAX_LAYERS: usize = 240;

/// Why bytes are no manifest or index.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("the manifest has {actual_bytes} bytes, more than the allowed {MAX_DOCUMENT_BYTES}")]
    TooLarge {
        /// Its size.
        actual_bytes: usize,
    },
    /// Not JSON of the expected shape; also duplicate and truncated fields and too deep nesting.
    #[error("the manifest cannot be parsed")]
    Syntax(#[source] serde_json::Error),
    /// Docker's schema 1 or something newer than we know.
    #[error("the manifest has schema version {version}, only version 2 is supported")]
    SchemaVersion {
        /// What it says.
        version: u64,
    },
    /// Both `layers` and `manifests`: two readers would see two images (CVE-2021-41190).
    #[error("the manifest has both `layers` and `manifests`")]
    Ambiguous,
    /// Neither a manifest nor an index.
    #[error("the manifest has neither `layers` and `config` nor `manifests`")]
    Shapeless,
    /// The announced type is not the one inside, or not one of an image.
    #[error("the manifest's media type is `{actual}`, expected {expected}")]
    MediaType {
        /// What the content allows.
        expected: &'static str,
        /// What was announced, escaped.
        actual: String,
    },
    /// More than [`MAX_LAYERS`].
    #[error("the image has {count} layers, more than the allowed {MAX_LAYERS}")]
    TooManyLayers {
        /// How many.
        count: usize,
    },
}

/// A manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "documents are few and short-lived")]
pub enum Document {
    /// A list of manifests.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// The manifests of one image for several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// The index's own type.
    pub media_type: MediaType,
    /// One entry per platform, attestations among them.
    pub manifests: Vec<Descriptor>,
    /// Free notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One image: its configuration and layers, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// The manifest's own type.
    pub media_type: MediaType,
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// Free notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Both shapes at once, so that a document which is neither or both is seen as such.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "crate::configuration::null_as_default")]
    annotations: BTreeMap<String, String>,
}

impl Document {
    /// Parses the bytes of a manifest or index.
    ///
    /// `announced` is the media type by which the content was found (a descriptor's or a response's
    /// `Content-Type`); where given and known, the content must agree with it.
    ///
    /// # Errors
    /// When the content is too large, malformed, ambiguous or of another kind than announced.
    pub fn parse(bytes: &[u8], announced: Option<&MediaType>) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge { actual_bytes: bytes.len() });
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(DocumentError::Syntax)?;
        let schema_version = shape.schema_version.unwrap_or(2);
        if schema_version != 2 {
            return Err(DocumentError::SchemaVersion { version: schema_version });
        }
        let announced = announced.filter(|kind| kind.is_index() || kind.is_manifest());
        match (shape.manifests, shape.config, shape.layers) {
            (Some(_), _, Some(_)) | (Some(_), Some(_), _) => Err(DocumentError::Ambiguous),
            (Some(manifests), None, None) => {
                let media_type = agree(
                    shape.media_type,
                    announced,
                    MediaType::is_index,
                    MediaType::OciIndex,
                    "that of an image index",
                )?;
                Ok(Self::Index(Index {
                    schema_version,
                    media_type,
                    manifests,
                    annotations: shape.annotations,
                }))
            }
            (None, Some(config), Some(layers)) => {
                if layers.len() > MAX_LAYERS {
                    return Err(DocumentError::TooManyLayers { count: layers.len() });
                }
                let media_type = agree(
                    shape.media_type,
                    announced,
                    MediaType::is_manifest,
                    MediaType::OciManifest,
                    "that of an image manifest",
                )?;
                Ok(Self::Manifest(Manifest {
                    schema_version,
                    media_type,
                    config,
                    layers,
                    annotations: shape.annotations,
                }))
            }
            _ => Err(DocumentError::Shapeless),
        }
    }

    /// The document's own media type.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Manifest(manifest) => &manifest.media_type,
        }
    }
}

fn agree(
    inside: Option<MediaType>,
    announced: Option<&MediaType>,
    fits: fn(&MediaType) -> bool,
    default: MediaType,
    expected: &'static str,
) -> Result<MediaType, DocumentError> {
    for kind in inside.iter().chain(announced) {
        if !fits(kind) {
            return Err(DocumentError::MediaType {
                expected,
                actual: kind.as_str().escape_default().to_string(),
            });
        }
    }
    Ok(inside.or_else(|| announced.cloned()).unwrap_or(default))
}

impl Index {
    /// The entry that serves a request for `platform` best; attestations are never chosen.
    #[must_use]
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let mut best: Option<(u8, &Descriptor)> = None;
        for descriptor in self.images() {
            let Some(preference) =
                descriptor.platform.as_ref().and_then(|offered| platform.preference(offered))
            else {
                continue;
            };
            // The first of equals wins, as in every other client.
            if best.is_none_or(|(known, _)| preference > known) {
                best = Some((preference, descriptor));
            }
        }
        best.map(|(_, descriptor)| descriptor)
    }

    /// The entries that are images or indexes, attestations left out.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|descriptor| {
            !descriptor.is_attestation()
                && (descriptor.media_type.is_manifest() || descriptor.media_type.is_index())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str, extra: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":1{extra}}}"#, "0".repeat(64))
    }

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    #[test]
    fn refuses_odd_documents() {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "");
        let manifest = descriptor(MANIFEST, "");
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let many = vec![config.as_str(); MAX_LAYERS + 1].join(",");
        let cases = [
            ("", "cannot be parsed"),
            ("null", "cannot be parsed"),
            ("[]", "neither"),
            ("{}", "neither"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema version 1"),
            (r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#, "both"),
            (&format!(r#"{{"manifests":[],"config":{config}}}"#), "both"),
            (r#"{"schemaVersion":2,"layers":[]}"#, "neither"),
            (r#"{"schemaVersion":2,"schemaVersion":2,"manifests":[]}"#, "cannot be parsed"),
            (r#"{"manifests":[],"manifests":[]}"#, "cannot be parsed"),
            (&format!(r#"{{"manifests":[{manifest}"#), "cannot be parsed"),
            (&format!(r#"{{"mediaType":"{MANIFEST}","manifests":[]}}"#), "media type"),
            (r#"{"mediaType":"text/html","manifests":[]}"#, "media type"),
            (&format!(r#"{{"config":{deep},"layers":[]}}"#), "cannot be parsed"),
            (&format!(r#"{{"config":{config},"layers":[{many}]}}"#), "241 layers"),
            (&format!(r#"{{"config":{},"layers":[]}}"#, config.replace(":1", ":-1")), "cannot be parsed"),
            (
                &format!(r#"{{"config":{},"layers":[]}}"#, config.replace("sha256", "../a")),
                "cannot be parsed",
            ),
        ];
        for (text, expected) in cases {
            let message = Document::parse(text.as_bytes(), None).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:.60}: {message}");
        }
        let large = vec![b' '; MAX_DOCUMENT_BYTES + 1];
        assert!(matches!(Document::parse(&large, None), Err(DocumentError::TooLarge { .. })));
        let index = MediaType::OciIndex;
        let text = format!(r#"{{"config":{config},"layers":[]}}"#);
        assert!(matches!(
            Document::parse(text.as_bytes(), Some(&index)),
            Err(DocumentError::MediaType { .. })
        ));
    }

    #[test]
    fn accepts_missing_media_types_and_chooses_a_platform() {
        let amd64 = descriptor(MANIFEST, r#","platform":{"os":"linux","architecture":"amd64"}"#);
        let arm64 =
            descriptor(MANIFEST, r#","platform":{"os":"linux","architecture":"arm64","variant":"v8"}"#)
                .replace("\"size\":1", "\"size\":2");
        let proof = descriptor(MANIFEST, r#","platform":{"os":"unknown","architecture":"unknown"}"#);
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{proof},{amd64},{arm64}]}}"#);
        let Document::Index(index) = Document::parse(text.as_bytes(), None).unwrap() else {
            panic!("an index was expected")
        };
        assert_eq!(index.media_type, MediaType::OciIndex);
        assert_eq!(index.select(&"linux/arm64".parse().unwrap()).unwrap().size_bytes, 2);
        assert_eq!(index.select(&"linux/amd64".parse().unwrap()).unwrap().size_bytes, 1);
        assert!(index.select(&"linux/riscv64".parse().unwrap()).is_none());
        assert_eq!(index.images().count(), 2);
    }
}
