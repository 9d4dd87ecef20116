//! A layer's way into the store: compressed bytes to blob and EROFS file at once.

use std::fs::File;
use std::io::{self, Read, Write};

use bulkhead_erofs::Image;
use bulkhead_oci::{Digest, DigestHasher};

use crate::StoreError;
use crate::files::{Layout, TemporaryFile, length_of};
use crate::layer::{LayerError, Limits, convert_layer, hash_layer};

/// What is known of a layer before its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LayerIdentity {
    /// Digest of the compressed blob.
    pub(crate) digest: Digest,
    /// Its length.
    pub(crate) size_bytes: u64,
    /// Digest of the uncompressed stream, by the image's configuration.
    pub(crate) diff_id: Digest,
}

/// Which parts of a layer are in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Blob and EROFS file, and they are known to belong together.
    Complete,
    /// The blob at least.
    Blob,
    /// Not even the blob.
    Missing,
}

pub(crate) fn presence(layout: &Layout, layer: &LayerIdentity) -> Result<Presence, StoreError> {
    let blob_bytes = length_of(&layout.blob(&layer.digest))?;
    if blob_bytes != Some(layer.size_bytes) {
        return Ok(Presence::Missing);
    }
    let is_known = proven_diff_id(layout, &layer.digest) == Some(layer.diff_id);
    Ok(if is_known && is_layer_sound(layout, &layer.diff_id) { Presence::Complete } else { Presence::Blob })
}

/// The DiffID that a blob was found to have. The record is not synced, so it may be missing or empty after a crash.
fn proven_diff_id(layout: &Layout, digest: &Digest) -> Option<Digest> {
    std::fs::read_to_string(layout.diff_id_record(digest)).ok()?.parse().ok()
}

/// Whether the EROFS file is there and as long as its superblock says.
pub(crate) fn is_layer_sound(layout: &Layout, diff_id: &Digest) -> bool {
    File::open(layout.layer(diff_id)).is_ok_and(|file| Image::open(file).is_ok())
}

/// Takes a layer's compressed bytes from `source`, which fails if they are not what the digest says. Blocks.
pub(crate) fn ingest(
    layout: &Layout,
    limits: &Limits,
    layer: &LayerIdentity,
    source: &mut dyn Read,
) -> Result<(), StoreError> {
    let mut blob = layout.temporary()?;
    let tee = Tee { source, copy: &mut blob, failure: None };
    let (converted, mut tee) = convert(layout, limits, layer, tee);
    // A full disk shows below as a failed read; say what it was.
    if let Some(failure) = tee.failure.take() {
        return Err(failure);
    }
    if let Err(error) = &converted
        && is_malformed(error)
    {
        // Content of another digest is the better explanation, and known only at its end.
        io::copy(tee.source, &mut io::sink()).map_err(|_| error.clone())?;
    }
    let converted = converted?;
    blob.publish(&layout.blob(&layer.digest))?;
    converted.publish(layout, layer)
}

/// Converts a layer whose bytes are on disk and known to have their digest. The caller publishes the blob and then
/// the result. Blocks.
pub(crate) fn ingest_spooled(
    layout: &Layout,
    limits: &Limits,
    layer: &LayerIdentity,
    source: impl Read,
) -> Result<Converted, StoreError> {
    convert(layout, limits, layer, source).0
}

/// Converts a layer whose blob is in the store already. Blocks.
pub(crate) fn ingest_stored(
    layout: &Layout,
    limits: &Limits,
    layer: &LayerIdentity,
) -> Result<(), StoreError> {
    let path = layout.blob(&layer.digest);
    let file = File::open(&path).map_err(|source| StoreError::file("open", &path, source))?;
    let hashing = Hashing { source: file, hasher: DigestHasher::new() };
    let (converted, mut hashing) = convert(layout, limits, layer, hashing);
    // A damaged blob explains whatever went wrong with its content.
    io::copy(&mut hashing, &mut io::sink()).map_err(|source| StoreError::file("read", &path, source))?;
    let actual = hashing.hasher.finish();
    if actual != layer.digest {
        return Err(StoreError::DigestMismatch { expected: layer.digest, actual });
    }
    converted?.publish(layout, layer)
}

/// Whether the content is at fault, not a limit or the disk.
fn is_malformed(error: &StoreError) -> bool {
    matches!(error, StoreError::Layer { source, .. }
        if !matches!(**source, LayerError::TooLarge { .. } | LayerError::Reserve { .. } | LayerError::Image(_)))
}

/// A layer that is proven to have its DiffID.
pub(crate) struct Converted {
    /// The EROFS file, if it was not there before.
    file: Option<TemporaryFile>,
    /// Paths of its implicit directories, each ended by NUL.
    implicit: Vec<u8>,
}

impl Converted {
    pub(crate) fn publish(self, layout: &Layout, layer: &LayerIdentity) -> Result<(), StoreError> {
        if let Some(file) = self.file {
            if !self.implicit.is_empty() {
                layout.publish_bytes(&self.implicit, &layout.implicit(&layer.diff_id))?;
            }
            file.publish(&layout.layer(&layer.diff_id))?;
        }
        layout.write_unsynced(layer.diff_id.to_string().as_bytes(), &layout.diff_id_record(&layer.digest))
    }
}

/// Reads `source` to its end. Gives it back for questions.
fn convert<R: Read>(
    layout: &Layout,
    limits: &Limits,
    layer: &LayerIdentity,
    mut source: R,
) -> (Result<Converted, StoreError>, R) {
    let outcome = convert_all(layout, limits, layer, &mut source);
    (outcome, source)
}

fn convert_all(
    layout: &Layout,
    limits: &Limits,
    layer: &LayerIdentity,
    source: &mut dyn Read,
) -> Result<Converted, StoreError> {
    let (actual, converted) = if is_layer_sound(layout, &layer.diff_id) {
        let hashed = hash_layer(&mut *source, limits);
        let path = layout.blob(&layer.digest);
        let diff_id = hashed.map_err(|error| StoreError::layer(layer.digest, &path, error))?;
        (diff_id, Converted { file: None, implicit: Vec::new() })
    } else {
        let file = layout.temporary()?;
        let result = convert_layer(&mut *source, file.handle()?, limits)
            .map_err(|error| StoreError::layer(layer.digest, file.path(), error))?;
        let mut implicit = Vec::new();
        for path in result.implicit_directories {
            implicit.extend(path);
            implicit.push(0);
        }
        (result.diff_id, Converted { file: Some(file), implicit })
    };
    // The decoder stops at the end of its stream; the blob's digest covers what may follow.
    let path = layout.blob(&layer.digest);
    io::copy(source, &mut io::sink()).map_err(|source| StoreError::file("read", &path, source))?;
    if actual != layer.diff_id {
        return Err(StoreError::DiffIdMismatch { layer: layer.digest, expected: layer.diff_id, actual });
    }
    Ok(converted)
}

/// Copies what is read into the blob.
struct Tee<'a> {
    source: &'a mut dyn Read,
    copy: &'a mut TemporaryFile,
    failure: Option<StoreError>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if let Err(error) = self.copy.file().write_all(&buffer[..read]) {
            let kind = error.kind();
            self.failure = Some(StoreError::file("write", self.copy.path(), error));
            return Err(kind.into());
        }
        Ok(read)
    }
}

struct Hashing<R> {
    source: R,
    hasher: DigestHasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
