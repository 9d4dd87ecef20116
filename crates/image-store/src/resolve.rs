//! From an image's digest to what a container needs of it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_erofs::Image;
use bulkhead_oci::{Descriptor, Digest, Document, ImageConfiguration, Manifest, Platform};

use crate::StoreError;
use crate::documents::{check_is_image, check_layer_count};
use crate::files::{Layout, length_of};
use crate::layer::OPAQUE_ROOT_LABEL;
use crate::parents::{correction, correction_digest};
use crate::pull::no_match;
use crate::store::{Inner, Store};

/// As in a pull; also bounds how far cycles could lead, which digests make impossible.
const MAX_INDEX_DEPTH: usize = 4;
const MAX_CACHED: usize = 256;

/// All that a container needs of an image.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// The manifest of the platform.
    pub manifest_digest: Digest,
    /// Its configuration.
    pub configuration: Arc<ImageConfiguration>,
    /// EROFS files, the lowest layer first, ready to be stacked by overlayfs. Layers that an opaque root above
    /// them hides are left out; one more may be on top, which corrects directories that layers use but do not
    /// describe. So there may be fewer or more than DiffIDs.
    pub layers: Arc<[LayerFile]>,
}

/// One layer as a read-only EROFS image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    /// Digest of the layer's uncompressed tar stream.
    pub diff_id: Digest,
    /// The file; mode 0600.
    pub path: PathBuf,
    /// Its length, a multiple of 4096.
    pub length_bytes: u64,
}

/// One platform of an image that is in the store.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Of the index's entry, or else of the configuration.
    pub platform: Platform,
    /// The manifest.
    pub descriptor: Descriptor,
    /// Manifest, configuration and compressed layers.
    pub size_bytes: u64,
    /// The configuration.
    pub configuration: Arc<ImageConfiguration>,
}

#[derive(Debug, Default)]
pub(crate) struct ResolvedCache(Mutex<HashMap<(Digest, Platform), Arc<ResolvedImage>>>);

impl ResolvedCache {
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A manifest that an image's digest leads to.
struct Leaf {
    descriptor: Descriptor,
    document: Arc<Document>,
}

impl Leaf {
    fn manifest(&self) -> Option<&Manifest> {
        match &*self.document {
            Document::Manifest(manifest) => Some(manifest),
            Document::Index(_) => None,
        }
    }
}

impl Store {
    /// Configuration and layers of an index or manifest for `platform`. What was resolved before costs a look at the
    /// first block of each layer's file only.
    ///
    /// # Errors
    /// When there is no such platform, or content is missing or damaged.
    pub fn image(&self, digest: &Digest, platform: &Platform) -> Result<Arc<ResolvedImage>, StoreError> {
        let inner = &self.inner;
        let key = (*digest, platform.clone());
        let known = inner.resolved.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            let is_there = |layer: &LayerFile| {
                let image = File::open(&layer.path).ok().and_then(|file| Image::open(file).ok());
                image.is_some_and(|image| image.length_bytes() == layer.length_bytes)
            };
            if known.layers.iter().all(is_there) {
                return Ok(known);
            }
        }
        let resolved = Arc::new(resolve(inner, digest, platform)?);
        let mut cache = inner.resolved.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&resolved));
        Ok(resolved)
    }

    /// The platforms of an index or manifest that are in the store.
    ///
    /// # Errors
    /// When the document itself is missing or damaged.
    pub fn variants(&self, digest: &Digest) -> Result<Vec<Variant>, StoreError> {
        let mut variants = Vec::new();
        for leaf in leaves(&self.inner, digest)? {
            let Some(manifest) = leaf.manifest() else { continue };
            let Ok(configuration) =
                self.inner.documents.configuration(&self.inner.layout, &manifest.config.digest)
            else {
                continue;
            };
            let platform = leaf.descriptor.platform.clone().unwrap_or_else(|| configuration.platform());
            let parts = manifest.layers.iter().chain([&manifest.config, &leaf.descriptor]);
            let size_bytes = parts.map(|part| part.size_bytes).fold(0, u64::saturating_add);
            variants.push(Variant {
                platform,
                descriptor: leaf.descriptor.clone(),
                size_bytes,
                configuration,
            });
        }
        Ok(variants)
    }

    /// The raw bytes of a manifest, index or configuration, at most 4 MiB.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn document_bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        crate::documents::read(&self.inner.layout, digest)
    }

    /// A descriptor of a manifest or index in the store.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn descriptor(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        let document = self.inner.documents.document(&self.inner.layout, digest)?;
        let size_bytes =
            length_of(&self.inner.layout.blob(digest))?.ok_or(StoreError::MissingBlob { digest: *digest })?;
        Ok(Descriptor::new(document.media_type().clone(), *digest, size_bytes))
    }

    /// Disk space in bytes of the images that `roots` lead to, EROFS files included; what they share is counted
    /// once.
    ///
    /// # Errors
    /// When a file cannot be looked at.
    pub fn size_bytes(&self, roots: &[Digest]) -> Result<u64, StoreError> {
        let layout = &self.inner.layout;
        let mut total_bytes = 0_u64;
        for digest in closure(&self.inner, roots.iter().copied()) {
            for path in [layout.blob(&digest), layout.layer(&digest)] {
                if let Ok(metadata) = std::fs::symlink_metadata(&path) {
                    total_bytes = total_bytes.saturating_add(metadata.blocks().saturating_mul(512));
                }
            }
        }
        Ok(total_bytes)
    }
}

fn resolve(inner: &Inner, digest: &Digest, platform: &Platform) -> Result<ResolvedImage, StoreError> {
    let leaf = select(inner, digest, platform)?;
    let Some(manifest) = leaf.manifest() else { return Err(StoreError::MissingBlob { digest: *digest }) };
    check_is_image(&leaf.descriptor.digest, manifest)?;
    let configuration = inner.documents.configuration(&inner.layout, &manifest.config.digest)?;
    check_layer_count(manifest, &configuration)?;
    if !platform.matches(&configuration.platform()) {
        return Err(no_match(platform, [configuration.platform()]));
    }
    let mut layers = layer_files(&inner.layout, &configuration.rootfs.diff_ids)?;
    layers.extend(correction(&inner.layout, &layers)?);
    Ok(ResolvedImage { manifest_digest: leaf.descriptor.digest, configuration, layers: layers.into() })
}

/// The files of the layers that are seen, the lowest first.
pub(crate) fn layer_files(layout: &Layout, diff_ids: &[Digest]) -> Result<Vec<LayerFile>, StoreError> {
    let mut layers = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let (layer, is_opaque) = layer_file(layout, diff_id)?;
        if is_opaque {
            layers.clear();
        }
        layers.push(layer);
    }
    Ok(layers)
}

/// The layer's file, and whether it hides all below it.
fn layer_file(layout: &Layout, diff_id: &Digest) -> Result<(LayerFile, bool), StoreError> {
    let path = layout.layer(diff_id);
    let file = File::open(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => StoreError::MissingBlob { digest: *diff_id },
        _ => StoreError::file("open", &path, source),
    })?;
    let image = Image::open(file).map_err(|_| StoreError::DamagedLayer { diff_id: *diff_id })?;
    let is_opaque = image.identity().label == OPAQUE_ROOT_LABEL;
    Ok((LayerFile { diff_id: *diff_id, path, length_bytes: image.length_bytes() }, is_opaque))
}

/// The manifest for a platform, through however many indexes.
fn select(inner: &Inner, digest: &Digest, platform: &Platform) -> Result<Leaf, StoreError> {
    let mut current = *digest;
    for _ in 0..=MAX_INDEX_DEPTH {
        let document = inner.documents.document(&inner.layout, &current)?;
        let index = match &*document {
            Document::Manifest(manifest) => {
                let descriptor = Descriptor::new(manifest.media_type.clone(), current, 0);
                return Ok(Leaf { descriptor, document });
            }
            Document::Index(index) => index,
        };
        let mut unknown = index.images().filter(|descriptor| descriptor.platform.is_none());
        let only = unknown.next().filter(|_| unknown.next().is_none());
        let chosen = index.select(platform).or(only);
        let offered = || index.images().filter_map(|descriptor| descriptor.platform.clone());
        current = chosen.ok_or_else(|| no_match(platform, offered()))?.digest;
    }
    Err(StoreError::NestedTooDeeply { digest: *digest })
}

/// The manifests in the store that a digest leads to. Those of an index that are missing were not pulled.
fn leaves(inner: &Inner, digest: &Digest) -> Result<Vec<Leaf>, StoreError> {
    let document = inner.documents.document(&inner.layout, digest)?;
    let size_bytes = length_of(&inner.layout.blob(digest))?.unwrap_or_default();
    let root = Descriptor::new(document.media_type().clone(), *digest, size_bytes);
    let mut found = Vec::new();
    let mut pending = vec![(Leaf { descriptor: root, document }, 0)];
    while let Some((leaf, depth)) = pending.pop() {
        match &*leaf.document {
            Document::Index(index) if depth < MAX_INDEX_DEPTH => {
                let children: Vec<_> = index.images().cloned().collect();
                for descriptor in children.into_iter().rev() {
                    if let Ok(document) = inner.documents.document(&inner.layout, &descriptor.digest) {
                        pending.push((Leaf { descriptor, document }, depth + 1));
                    }
                }
            }
            Document::Index(_) => {}
            Document::Manifest(_) => found.push(leaf),
        }
    }
    Ok(found)
}

/// Names that a correcting layer may have: it depends on which layers an opaque root hides.
fn correction_digests(diff_ids: &[Digest]) -> impl Iterator<Item = Digest> + '_ {
    (0..diff_ids.len()).map(|lowest| correction_digest(&diff_ids[lowest..]))
}

/// Every digest, DiffIDs included, that `roots` lead to through documents in the store.
pub(crate) fn closure(inner: &Inner, roots: impl Iterator<Item = Digest>) -> HashSet<Digest> {
    let mut reached = HashSet::new();
    let mut pending: Vec<Digest> = roots.collect();
    while let Some(digest) = pending.pop() {
        if !reached.insert(digest) {
            continue;
        }
        let Ok(document) = inner.documents.document(&inner.layout, &digest) else { continue };
        match &*document {
            Document::Index(index) => pending.extend(index.manifests.iter().map(|entry| entry.digest)),
            Document::Manifest(manifest) => {
                reached.insert(manifest.config.digest);
                reached.extend(manifest.layers.iter().map(|layer| layer.digest));
                if let Ok(configuration) =
                    inner.documents.configuration(&inner.layout, &manifest.config.digest)
                {
                    let diff_ids = &configuration.rootfs.diff_ids;
                    reached.extend(diff_ids.iter().copied());
                    reached.extend(correction_digests(diff_ids));
                }
            }
        }
    }
    reached
}
