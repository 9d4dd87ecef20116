//! `image load`.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_oci::{Descriptor, Digest, Document, Manifest, Reference};

use super::spool::{Spool, SpooledFile};
use super::{ArchiveError, docker, oci};
use crate::documents::{
    check_is_image, check_layer_count, parse_configuration, parse_document, read as read_document,
};
use crate::files::TemporaryFile;
use crate::ingest::{LayerIdentity, Presence, ingest_spooled, ingest_stored, presence};
use crate::store::{Inner, Store};
use crate::{Lease, ProgressEvent, StoreError};

/// Indexes within indexes, as in a pull.
const MAX_INDEX_DEPTH: usize = 4;
/// Conversions at once; more compete for the disk.
const MAX_THREADS: usize = 4;

/// An image of an archive. Record it before dropping `lease`.
#[derive(Debug)]
pub struct LoadedImage {
    /// Its name, if the archive gives one. An image with several names comes several times.
    pub reference: Option<Reference>,
    /// Its index or manifest.
    pub descriptor: Descriptor,
    /// Protects the image until its name is recorded.
    pub lease: Lease,
}

impl Store {
    /// Reads an OCI layout or docker-archive tar, optionally compressed, from a file or pipe. Blocks.
    ///
    /// The whole archive is spooled to the store's disk first; its blobs then become the store's without a copy.
    ///
    /// # Errors
    /// When the archive is malformed, incomplete or does not fit its digests, or the disk fails. No document is
    /// published then.
    pub fn load_archive(
        &self,
        archive: impl Read,
        progress: impl Fn(ProgressEvent) + Send + Sync,
    ) -> Result<Vec<LoadedImage>, StoreError> {
        let inner = &*self.inner;
        let lease = inner.leases.lease([]);
        let spool = Spool::read(&inner.layout, &inner.limits, &lease, archive)?;
        let mut loader = Loader {
            inner,
            lease: &lease,
            spool,
            documents: Vec::new(),
            seen: HashSet::new(),
            layers: Vec::new(),
        };
        let images = loader.plan()?;
        loader.publish(&progress)?;
        let protect = |(reference, descriptor): (Option<Reference>, Descriptor)| {
            let lease = self.lease(&[descriptor.digest]);
            LoadedImage { reference, descriptor, lease }
        };
        Ok(images.into_iter().map(protect).collect())
    }
}

struct Loader<'a> {
    inner: &'a Inner,
    lease: &'a Lease,
    spool: Spool,
    /// Documents to publish, containers before what they contain.
    documents: Vec<(Digest, Vec<u8>)>,
    seen: HashSet<Digest>,
    layers: Vec<LayerIdentity>,
}

impl Loader<'_> {
    /// Finds the images and checks that all their parts are there.
    fn plan(&mut self) -> Result<Vec<(Option<Reference>, Descriptor)>, StoreError> {
        let mut images = Vec::new();
        // New versions of Docker write both; the layout keeps the digests that the image had in its registry.
        if self.spool.contains(b"index.json") {
            for (reference, descriptor) in oci::images(&self.spool)? {
                let size_bytes = self.add_document(&descriptor, 0)?;
                let descriptor = Descriptor { size_bytes, ..descriptor };
                images.push((reference, descriptor));
            }
        } else if self.spool.contains(b"manifest.json") {
            for image in docker::images(&self.spool)? {
                let digest = Digest::of(&image.manifest_bytes);
                self.lease.add([digest]);
                let document = parse_document(&digest, &image.manifest_bytes, None)?;
                let size_bytes = image.manifest_bytes.len() as u64;
                let descriptor = Descriptor::new(document.media_type().clone(), digest, size_bytes);
                if let Document::Manifest(manifest) = document
                    && self.seen.insert(digest)
                {
                    self.documents.push((digest, image.manifest_bytes));
                    self.add_image(&digest, &manifest)?;
                }
                let names = image.references.into_iter().map(Some);
                let names: Vec<_> = if names.len() == 0 { vec![None] } else { names.collect() };
                images.extend(names.into_iter().map(|name| (name, descriptor.clone())));
            }
        }
        if images.is_empty() {
            return Err(StoreError::Archive(Arc::new(ArchiveError::NoImage)));
        }
        Ok(images)
    }

    /// Adds a manifest or index with all below it. Returns its size in bytes.
    fn add_document(&mut self, descriptor: &Descriptor, depth: usize) -> Result<u64, StoreError> {
        let digest = descriptor.digest;
        let bytes = self.bytes(&digest)?;
        let size_bytes = bytes.len() as u64;
        if size_bytes != descriptor.size_bytes {
            let expected_bytes = descriptor.size_bytes;
            return Err(StoreError::SizeMismatch { digest, expected_bytes, actual_bytes: size_bytes });
        }
        let document = parse_document(&digest, &bytes, Some(&descriptor.media_type))?;
        if !self.seen.insert(digest) {
            return Ok(size_bytes);
        }
        if depth > MAX_INDEX_DEPTH {
            return Err(StoreError::NestedTooDeeply { digest });
        }
        self.documents.push((digest, bytes));
        match document {
            Document::Manifest(manifest) => self.add_image(&digest, &manifest)?,
            Document::Index(index) => {
                let mut present = 0;
                for entry in index.images() {
                    // An archive of one platform keeps the index of all of them.
                    if self.spool.get(&entry.digest).is_some() {
                        self.add_document(entry, depth + 1)?;
                        present += 1;
                    }
                }
                if present == 0 {
                    let first = index.images().next().map_or(digest, |entry| entry.digest);
                    return Err(StoreError::MissingBlob { digest: first });
                }
            }
        }
        Ok(size_bytes)
    }

    fn add_image(&mut self, digest: &Digest, manifest: &Manifest) -> Result<(), StoreError> {
        check_is_image(digest, manifest)?;
        let config_digest = manifest.config.digest;
        let bytes = self.bytes(&config_digest)?;
        let configuration = parse_configuration(&config_digest, &bytes)?;
        check_layer_count(manifest, &configuration)?;
        self.lease.add([config_digest]);
        self.documents.push((config_digest, bytes));
        for (layer, diff_id) in manifest.layers.iter().zip(&configuration.rootfs.diff_ids) {
            let identity =
                LayerIdentity { digest: layer.digest, size_bytes: layer.size_bytes, diff_id: *diff_id };
            self.lease.add([layer.digest, *diff_id]);
            match self.spool.get(&layer.digest) {
                Some(spooled) if spooled.size_bytes != layer.size_bytes => {
                    let (expected_bytes, actual_bytes) = (layer.size_bytes, spooled.size_bytes);
                    return Err(StoreError::SizeMismatch {
                        digest: layer.digest,
                        expected_bytes,
                        actual_bytes,
                    });
                }
                None if presence(&self.inner.layout, &identity)? == Presence::Missing => {
                    return Err(StoreError::MissingBlob { digest: layer.digest });
                }
                _ => {}
            }
            if !self.layers.contains(&identity) {
                self.layers.push(identity);
            }
        }
        Ok(())
    }

    /// A document of the archive, or else of the store.
    fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        match self.spool.bytes(digest) {
            Some(bytes) => bytes,
            None => read_document(&self.inner.layout, digest),
        }
    }

    fn publish(&mut self, progress: &(impl Fn(ProgressEvent) + Sync)) -> Result<(), StoreError> {
        let total_bytes = self.layers.iter().map(|layer| layer.size_bytes).fold(0, u64::saturating_add);
        progress(ProgressEvent::Planned { layers: self.layers.len(), total_bytes });
        let layers = std::mem::take(&mut self.layers);
        let jobs: Vec<_> = layers.into_iter().map(|layer| (layer, self.spool.take(&layer.digest))).collect();
        // A layer that is not spooled is in the store, or will be once its blob, named twice, is done.
        let (spooled, stored): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|(_, file)| file.is_some());
        convert_all(self.inner, spooled, progress)?;
        convert_all(self.inner, stored, progress)?;
        let layout = &self.inner.layout;
        for (digest, bytes) in std::mem::take(&mut self.documents).into_iter().rev() {
            layout.publish_bytes(&bytes, &layout.blob(&digest))?;
        }
        Ok(())
    }
}

/// Converts layers on a few threads; the first failure ends all.
fn convert_all(
    inner: &Inner,
    mut jobs: Vec<(LayerIdentity, Option<SpooledFile>)>,
    progress: &(impl Fn(ProgressEvent) + Sync),
) -> Result<(), StoreError> {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = jobs.len().min(available).min(MAX_THREADS);
    jobs.reverse();
    let queue = Mutex::new(jobs);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some((layer, spooled)) = next() {
            if let Err(error) = convert(inner, &layer, spooled, progress) {
                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let outcomes = workers.into_iter().map(|worker| worker.join().unwrap_or(Err(StoreError::Cancelled)));
        outcomes.fold(Ok(()), Result::and)
    })
}

fn convert(
    inner: &Inner,
    layer: &LayerIdentity,
    spooled: Option<SpooledFile>,
    progress: &impl Fn(ProgressEvent),
) -> Result<(), StoreError> {
    let (layout, limits) = (&inner.layout, &inner.limits);
    let (digest, size_bytes) = (layer.digest, layer.size_bytes);
    if presence(layout, layer)? == Presence::Complete {
        progress(ProgressEvent::LayerExists { digest });
        return Ok(());
    }
    progress(ProgressEvent::LayerStarted { digest, size_bytes });
    match spooled {
        Some(spooled) => {
            let advanced = |bytes| progress(ProgressEvent::LayerAdvanced { digest, bytes });
            let source = FromStart { file: &spooled.file, position: 0, advanced: &advanced };
            let converted = ingest_spooled(layout, limits, layer, source)?;
            spooled.file.publish(&layout.blob(&digest))?;
            converted.publish(layout, layer)?;
        }
        None => ingest_stored(layout, limits, layer)?,
    }
    progress(ProgressEvent::LayerFinished { digest });
    Ok(())
}

/// Reads a spooled file from its start, whatever its cursor.
struct FromStart<'a, F> {
    file: &'a TemporaryFile,
    position: u64,
    advanced: &'a F,
}

impl<F: Fn(u64)> Read for FromStart<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.file().read_at(buffer, self.position)?;
        self.position += read as u64;
        if read > 0 {
            (self.advanced)(read as u64);
        }
        Ok(read)
    }
}
