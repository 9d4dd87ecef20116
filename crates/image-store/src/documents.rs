//! Manifests, indexes and configurations in the store, parsed once and kept in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_oci::{Digest, Document, ImageConfiguration, MAX_DOCUMENT_BYTES, Manifest, MediaType};

use crate::StoreError;
use crate::files::Layout;

/// Parsed documents take some tens of KiB each; beyond this many the cache starts anew.
const MAX_CACHED: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Documents {
    documents: Mutex<HashMap<Digest, Arc<Document>>>,
    configurations: Mutex<HashMap<Digest, Arc<ImageConfiguration>>>,
}

impl Documents {
    /// The manifest or index of that digest.
    pub(crate) fn document(&self, layout: &Layout, digest: &Digest) -> Result<Arc<Document>, StoreError> {
        cached(&self.documents, digest, || parse_document(digest, &read(layout, digest)?, None))
    }

    pub(crate) fn configuration(
        &self,
        layout: &Layout,
        digest: &Digest,
    ) -> Result<Arc<ImageConfiguration>, StoreError> {
        cached(&self.configurations, digest, || parse_configuration(digest, &read(layout, digest)?))
    }

    pub(crate) fn forget(&self, digest: &Digest) {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        self.configurations.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}

fn cached<T>(
    cache: &Mutex<HashMap<Digest, Arc<T>>>,
    digest: &Digest,
    load: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Arc<T>, StoreError> {
    if let Some(known) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
        return Ok(Arc::clone(known));
    }
    let loaded = Arc::new(load()?);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.insert(*digest, Arc::clone(&loaded));
    Ok(loaded)
}

/// Reads a small blob and checks it: the disk may have changed what was once verified.
pub(crate) fn read(layout: &Layout, digest: &Digest) -> Result<Vec<u8>, StoreError> {
    let path = layout.blob(digest);
    let file = File::open(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => StoreError::MissingBlob { digest: *digest },
        _ => StoreError::file("open", &path, source),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| StoreError::file("read", &path, source))?;
    let actual = Digest::of(&bytes);
    if actual == *digest { Ok(bytes) } else { Err(StoreError::DigestMismatch { expected: *digest, actual }) }
}

pub(crate) fn parse_document(
    digest: &Digest,
    bytes: &[u8],
    announced: Option<&MediaType>,
) -> Result<Document, StoreError> {
    Document::parse(bytes, announced)
        .map_err(|source| StoreError::Document { digest: *digest, source: Arc::new(source) })
}

pub(crate) fn parse_configuration(digest: &Digest, bytes: &[u8]) -> Result<ImageConfiguration, StoreError> {
    ImageConfiguration::parse(bytes)
        .map_err(|source| StoreError::Configuration { digest: *digest, source: Arc::new(source) })
}

/// Refuses manifests of charts, signatures and other things that are no images.
pub(crate) fn check_is_image(digest: &Digest, manifest: &Manifest) -> Result<(), StoreError> {
    let refuse = |media_type: &MediaType| StoreError::NotAnImage {
        digest: *digest,
        media_type: media_type.as_str().escape_default().to_string(),
    };
    let kind = &manifest.config.media_type;
    // Docker 1.10 pushed configurations as plain bytes.
    if !kind.is_configuration() && kind.as_str() != "application/octet-stream" {
        return Err(refuse(kind));
    }
    let odd = manifest.layers.iter().find(|layer| layer.media_type.layer_compression().is_none());
    odd.map_or(Ok(()), |layer| Err(refuse(&layer.media_type)))
}

/// Layers must be as many as the configuration says.
pub(crate) fn check_layer_count(
    manifest: &Manifest,
    configuration: &ImageConfiguration,
) -> Result<(), StoreError> {
    let (layers, diff_ids) = (manifest.layers.len(), configuration.rootfs.diff_ids.len());
    if layers == diff_ids { Ok(()) } else { Err(StoreError::LayerCount { layers, diff_ids }) }
}
