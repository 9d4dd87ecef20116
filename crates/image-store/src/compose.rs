//! Images that are made here: of the layers of another image, and one more.

use std::io::{Read, Write};
use std::sync::Arc;

use bulkhead_oci::{
    Compression, Descriptor, Digest, DigestHasher, Document, History, ImageConfiguration, MediaType, Platform,
};
use serde_json::{Map, Value, json};

use crate::documents::{parse_configuration, parse_document, read as read_document};
use crate::files::TemporaryFile;
use crate::ingest::{LayerIdentity, ingest_spooled};
use crate::layer::{LayerError, decompress};
use crate::store::Store;
use crate::{Lease, StoreError};

/// What a tar stream without an entry is: the end of one.
const EMPTY_TAR: [u8; 1024] = [0; 1024];
/// A third of the time of the usual level, for a tenth more.
const COMPRESSION_LEVEL: u32 = 3;
const BUFFER_BYTES: usize = 256 << 10;

/// A layer that is on the disk and part of nothing. Dropping it removes it.
#[derive(Debug)]
pub struct SpooledLayer {
    file: TemporaryFile,
    identity: LayerIdentity,
}

/// What an image is made of, beside its new layer.
#[derive(Clone, Debug, Default)]
pub struct Composition {
    /// The image and platform whose layers and history come first.
    pub parent: Option<(Digest, Platform)>,
    /// The configuration but for `rootfs` and `history`.
    pub configuration: Map<String, Value>,
    /// How the new layer came to be.
    pub step: History,
}

/// An image that was made. Record it before dropping `lease`.
#[derive(Debug)]
pub struct ComposedImage {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// Protects the image until its name is recorded.
    pub lease: Lease,
}

impl Store {
    /// The configuration of an image for a platform, with all that nobody here knows.
    ///
    /// # Errors
    /// When there is no such platform, or content is missing or damaged.
    pub fn raw_configuration(
        &self,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<Map<String, Value>, StoreError> {
        let (_, digest, bytes) = self.parent(digest, platform)?;
        parse_configuration(&digest, &bytes)?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Compresses a tar stream, which may be compressed otherwise if `compressed`, into a layer that is examined
    /// when it becomes part of an image. Blocks.
    ///
    /// # Errors
    /// When the stream ends with an error or is larger than any layer may be, or the disk fails.
    pub fn spool_layer(&self, tar: impl Read, compressed: bool) -> Result<SpooledLayer, StoreError> {
        let inner = &self.inner;
        let file = inner.layout.temporary()?;
        let failed = |source| StoreError::NewLayer { source: Arc::new(source) };
        let mut input: Box<dyn Read> = match compressed {
            true => {
                decompress(std::io::BufReader::new(tar)).map_err(LayerError::Decompress).map_err(failed)?.1
            }
            false => Box::new(tar),
        };
        let limit_bytes = inner.limits.max_layer_bytes;
        let blob = Hashing { output: file.file(), hasher: DigestHasher::new(), length_bytes: 0 };
        let mut encoder = flate2::write::GzEncoder::new(blob, flate2::Compression::new(COMPRESSION_LEVEL));
        let (mut hasher, mut length_bytes) = (DigestHasher::new(), 0_u64);
        let mut buffer = vec![0; BUFFER_BYTES];
        let write = |source| StoreError::file("write", file.path(), source);
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(LayerError::Tar(crate::tar::TarError::Input(error)))),
            };
            length_bytes += count as u64;
            if length_bytes > limit_bytes {
                return Err(failed(LayerError::TooLarge { limit_bytes }));
            }
            hasher.update(&buffer[..count]);
            encoder.write_all(&buffer[..count]).map_err(write)?;
        }
        let blob = encoder.finish().map_err(write)?;
        let (digest, size_bytes) = (blob.hasher.finish(), blob.length_bytes);
        let identity = LayerIdentity { digest, size_bytes, diff_id: hasher.finish() };
        Ok(SpooledLayer { file, identity })
    }

    /// Makes an image: of its parent's layers and this one, which is left out if there is nothing in it. Blocks.
    ///
    /// # Errors
    /// When the layer is malformed or too large, the configuration is none, or the disk fails. No document is
    /// published then.
    pub fn compose(&self, new: Composition, layer: SpooledLayer) -> Result<ComposedImage, StoreError> {
        let inner = &*self.inner;
        let layout = &inner.layout;
        let SpooledLayer { file, identity } = layer;
        let lease = inner.leases.lease([identity.digest, identity.diff_id]);
        // All of it, before it is looked at.
        let _parent = new.parent.as_ref().map(|(digest, _)| self.lease(&[*digest]));
        let (mut layers, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
        if let Some((digest, platform)) = &new.parent {
            let (manifest, digest, bytes) = self.parent(digest, platform)?;
            let parent: ImageConfiguration = parse_configuration(&digest, &bytes)?;
            layers = manifest.layers.into_iter().map(in_oci_words).collect();
            lease.add(layers.iter().map(|layer: &Descriptor| layer.digest));
            lease.add(parent.rootfs.diff_ids.iter().copied());
            (diff_ids, history) = (parent.rootfs.diff_ids, parent.history);
            // One that does not tell of all its layers would have the new step tell of one of them.
            let told = history.iter().filter(|step| !step.empty_layer).count();
            history.extend((told..diff_ids.len()).map(|_| History::default()));
        }
        let is_empty = identity.diff_id == Digest::of(&EMPTY_TAR) && !layers.is_empty();
        if !is_empty {
            let kind = MediaType::OciLayer(Compression::Gzip);
            layers.push(Descriptor::new(kind, identity.digest, identity.size_bytes));
            diff_ids.push(identity.diff_id);
        }
        history.push(History { empty_layer: is_empty, ..new.step });
        let mut configuration = new.configuration;
        configuration.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
        configuration.insert("history".to_owned(), json!(history));
        let configuration = Value::Object(configuration).to_string().into_bytes();
        let config = document(MediaType::OciConfiguration, &configuration);
        parse_configuration(&config.digest, &configuration)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciManifest,
            "config": config,
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let descriptor = document(MediaType::OciManifest, &manifest);
        parse_document(&descriptor.digest, &manifest, None)?;
        lease.add([config.digest, descriptor.digest]);
        if !is_empty {
            let source = std::fs::File::open(file.path());
            let source = source.map_err(|source| StoreError::file("open", file.path(), source))?;
            let converted = ingest_spooled(layout, &inner.limits, &identity, source)?;
            file.publish(&layout.blob(&identity.digest))?;
            converted.publish(layout, &identity)?;
        }
        layout.publish_bytes(&configuration, &layout.blob(&config.digest))?;
        layout.publish_bytes(&manifest, &layout.blob(&descriptor.digest))?;
        Ok(ComposedImage { descriptor, lease })
    }

    /// Manifest of an image for a platform, digest and bytes of its configuration.
    fn parent(
        &self,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<(bulkhead_oci::Manifest, Digest, Vec<u8>), StoreError> {
        let resolved = self.image(digest, platform)?;
        let document = self.inner.documents.document(&self.inner.layout, &resolved.manifest_digest)?;
        let Document::Manifest(manifest) = &*document else {
            return Err(StoreError::MissingBlob { digest: resolved.manifest_digest });
        };
        let config = manifest.config.digest;
        Ok((manifest.clone(), config, read_document(&self.inner.layout, &config)?))
    }
}

fn document(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

/// Docker's types have no place in a manifest of OCI's.
fn in_oci_words(layer: Descriptor) -> Descriptor {
    match layer.media_type {
        MediaType::DockerLayer(compression) => {
            Descriptor { media_type: MediaType::OciLayer(compression), ..layer }
        }
        _ => layer,
    }
}

/// Hashes and counts what is written.
struct Hashing<W> {
    output: W,
    hasher: DigestHasher,
    length_bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}
