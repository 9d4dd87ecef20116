//! OCI layouts.

use std::sync::Arc;

use bulkhead_oci::{
    ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME, Descriptor, Document, MediaType, Reference,
};

use super::ArchiveError;
use super::spool::Spool;
use crate::StoreError;

/// The images of `index.json`, each with the name its annotations give it.
pub(super) fn images(spool: &Spool) -> Result<Vec<(Option<Reference>, Descriptor)>, StoreError> {
    let bytes = spool.document(b"index.json")?;
    let digest = bulkhead_oci::Digest::of(&bytes);
    let document = Document::parse(&bytes, Some(&MediaType::OciIndex))
        .map_err(|source| StoreError::Document { digest, source: Arc::new(source) })?;
    let Document::Index(index) = document else {
        return Err(StoreError::Archive(Arc::new(ArchiveError::NoImage)));
    };
    let mut images = Vec::new();
    for descriptor in &index.manifests {
        // Attestations and signatures stand beside images; they come along where an image's index lists them.
        let is_image = descriptor.media_type.is_index() || descriptor.media_type.is_manifest();
        if !is_image || descriptor.is_attestation() {
            continue;
        }
        let reference = reference(descriptor).map_err(|error| StoreError::Archive(Arc::new(error)))?;
        images.push((reference, descriptor.clone()));
    }
    Ok(images)
}

/// Docker and containerd write the full name beside the tag; others write a name or only a tag as the "ref name".
fn reference(descriptor: &Descriptor) -> Result<Option<Reference>, ArchiveError> {
    let annotation = |key| descriptor.annotations.get(key).map(String::as_str);
    let full_name = annotation(ANNOTATION_CONTAINERD_NAME);
    let is_name = |text: &&str| text.contains(['/', ':']);
    let Some(text) = full_name.or_else(|| annotation(ANNOTATION_REF_NAME).filter(is_name)) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|source| ArchiveError::Tag { tag: text.escape_default().to_string(), source })
}
