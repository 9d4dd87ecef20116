//! What `docker save` wrote before version 25, and `podman save` and skopeo's `docker-archive` still do.

use std::sync::Arc;

use bulkhead_oci::{
    Compression, Descriptor, Digest, ImageConfiguration, MAX_DOCUMENT_BYTES, MediaType, Reference,
};
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use super::names::normalise;
use super::spool::Spool;
use crate::StoreError;
use crate::documents::parse_configuration;
use crate::layer::sniff;

/// An entry of `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestEntry {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}

/// An image with the manifest that it gets here, as it has none of its own.
pub(super) struct DockerImage {
    pub(super) references: Vec<Reference>,
    pub(super) manifest_bytes: Vec<u8>,
}

pub(super) fn images(spool: &Spool) -> Result<Vec<DockerImage>, StoreError> {
    let failed = |error| StoreError::Archive(Arc::new(error));
    let bytes = spool.document(b"manifest.json")?;
    let entries: Vec<ManifestEntry> = serde_json::from_slice(&bytes)
        .map_err(|source| failed(ArchiveError::Syntax { name: "manifest.json", source }))?;
    let mut images = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut references = Vec::new();
        for tag in entry.repo_tags.iter().flatten() {
            let reference = tag.parse().map_err(|source| {
                failed(ArchiveError::Tag { tag: tag.escape_default().to_string(), source })
            })?;
            references.push(reference);
        }
        let find = |name: &str| -> Result<Digest, StoreError> {
            let path = normalise(name.as_bytes()).map_err(failed)?;
            spool.find(&path).map_err(failed)
        };
        let digest = find(&entry.config)?;
        let bytes = spool.bytes(&digest).ok_or_else(|| {
            let path = entry.config.clone().into_bytes();
            failed(ArchiveError::DocumentTooLarge { path, limit_bytes: MAX_DOCUMENT_BYTES })
        })??;
        let configuration: ImageConfiguration = parse_configuration(&digest, &bytes)?;
        let names = entry.layers.unwrap_or_default();
        let diff_ids = configuration.rootfs.diff_ids.len();
        if names.len() != diff_ids {
            return Err(StoreError::LayerCount { layers: names.len(), diff_ids });
        }
        let config = Descriptor::new(MediaType::DockerConfiguration, digest, bytes.len() as u64);
        let mut layers = Vec::with_capacity(names.len());
        for name in &names {
            layers.push(layer(spool, &find(name)?, name).map_err(failed)?);
        }
        images.push(DockerImage { references, manifest_bytes: manifest(&config, &layers) });
    }
    Ok(images)
}

/// The layer as it is in the archive: mostly plain, but some tools compress.
fn layer(spool: &Spool, digest: &Digest, name: &str) -> Result<Descriptor, ArchiveError> {
    use std::os::unix::fs::FileExt;
    let missing = || ArchiveError::Missing { path: name.as_bytes().to_vec() };
    let spooled = spool.get(digest).ok_or_else(missing)?;
    let mut start = [0; 4];
    let read = spooled.file.file().read_at(&mut start, 0).map_err(ArchiveError::Read)?;
    let media_type = match sniff(&start[..read]) {
        Compression::None => MediaType::DockerLayer(Compression::None),
        compression => MediaType::DockerLayer(compression),
    };
    Ok(Descriptor::new(media_type, *digest, spooled.size_bytes))
}

/// The same image always gets the same manifest.
fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let value = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DockerManifest.as_str(),
        "config": config,
        "layers": layers,
    });
    value.to_string().into_bytes()
}
