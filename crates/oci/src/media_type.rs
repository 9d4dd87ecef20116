//! Media types of manifests, configurations and layers: OCI's and Docker schema 2's.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a layer's tar stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Plain tar.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// The media types that Bulkhead acts upon; all others are kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.config.v1+json`
    OciConfiguration,
    /// `application/vnd.oci.image.layer.v1.tar` and its compressed and nondistributable forms
    OciLayer(Compression),
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerManifestList,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.container.image.v1+json`
    DockerConfiguration,
    /// `application/vnd.docker.image.rootfs.diff.tar` and its compressed and foreign forms
    DockerLayer(Compression),
    /// Anything else, as it was written.
    Other(String),
}

impl MediaType {
    /// Reads a media type; parameters such as `; charset=utf-8` are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence {
            "application/vnd.oci.image.index.v1+json" => Self::OciIndex,
            "application/vnd.oci.image.manifest.v1+json" => Self::OciManifest,
            "application/vnd.oci.image.config.v1+json" => Self::OciConfiguration,
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar" => Self::OciLayer(Compression::None),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" => {
                Self::OciLayer(Compression::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => {
                Self::OciLayer(Compression::Zstd)
            }
            "application/vnd.docker.distribution.manifest.list.v2+json" => Self::DockerManifestList,
            "application/vnd.docker.distribution.manifest.v2+json" => Self::DockerManifest,
            "application/vnd.docker.container.image.v1+json" => Self::DockerConfiguration,
            "application/vnd.docker.image.rootfs.diff.tar" => Self::DockerLayer(Compression::None),
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
                Self::DockerLayer(Compression::Gzip)
            }
            "application/vnd.docker.image.rootfs.diff.tar.zstd" => Self::DockerLayer(Compression::Zstd),
            other => Self::Other(other.to_owned()),
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciConfiguration => "application/vnd.oci.image.config.v1+json",
            Self::OciLayer(Compression::None) => "application/vnd.oci.image.layer.v1.tar",
            Self::OciLayer(Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::OciLayer(Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::DockerManifestList => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerConfiguration => "application/vnd.docker.container.image.v1+json",
            Self::DockerLayer(Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            Self::DockerLayer(Compression::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Self::DockerLayer(Compression::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
            Self::Other(text) => text,
        }
    }

    /// A list of manifests.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }

    /// The manifest of one image.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// An image's configuration.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::OciConfiguration | Self::DockerConfiguration)
    }

    /// The compression that a layer's media type announces; `None` if this is no layer.
    #[must_use]
    pub fn layer_compression(&self) -> Option<Compression> {
        match self {
            Self::OciLayer(compression) | Self::DockerLayer(compression) => Some(*compression),
            _ => None,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&std::borrow::Cow::<str>::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_parses_to_itself() {
        for kind in [
            MediaType::OciIndex,
            MediaType::OciManifest,
            MediaType::OciConfiguration,
            MediaType::OciLayer(Compression::None),
            MediaType::OciLayer(Compression::Gzip),
            MediaType::OciLayer(Compression::Zstd),
            MediaType::DockerManifestList,
            MediaType::DockerManifest,
            MediaType::DockerConfiguration,
            MediaType::DockerLayer(Compression::None),
            MediaType::DockerLayer(Compression::Gzip),
            MediaType::DockerLayer(Compression::Zstd),
            MediaType::Other("text/plain".to_owned()),
        ] {
            assert_eq!(MediaType::parse(kind.as_str()), kind);
            assert_eq!(MediaType::parse(&format!("{kind}; charset=utf-8")), kind);
        }
    }
}
