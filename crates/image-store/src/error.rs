//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulkhead_oci::{ConfigurationError, Digest, DocumentError, Platform};
use bulkhead_registry::RegistryError;
use thiserror::Error;

use crate::layer::LayerError;

/// Why an operation of the store failed. Messages are for users; the chain of sources completes them.
///
/// Sources are shared, so that all who wait for one download can be told why it failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file of the store could not be created, written, synced, renamed or removed.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// `create`, `write`, …
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file system of the store is full.
    #[error("no space left on device for `{}`", path.display())]
    NoSpace {
        /// The file that could not be written.
        path: PathBuf,
    },
    /// Another process has the store open.
    #[error("the image store `{}` is in use by another process", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// The registry did not give what was asked for.
    #[error("cannot pull `{reference}`")]
    Registry {
        /// The image's full name.
        reference: String,
        /// Why.
        #[source]
        source: Arc<RegistryError>,
    },
    /// The registry did not take what was sent.
    #[error("cannot push `{reference}`")]
    Push {
        /// The image's full name.
        reference: String,
        /// Why.
        #[source]
        source: Arc<RegistryError>,
    },
    /// Some platforms of an index are here and some are not.
    #[error("the image is here for {available} only, not for all platforms of its index")]
    Incomplete {
        /// Those that are here, separated by commas.
        available: String,
    },
    /// A layer is no usable tar stream, exceeds the limits or could not be stored.
    #[error("layer {digest} cannot be used")]
    Layer {
        /// The compressed layer.
        digest: Digest,
        /// Why.
        #[source]
        source: Arc<LayerError>,
    },
    /// What is to become a layer cannot be read, or is too much.
    #[error("its files cannot become a layer")]
    NewLayer {
        /// Why.
        #[source]
        source: Arc<LayerError>,
    },
    /// A blob that is needed is not in the store or archive.
    #[error("blob {digest} is missing")]
    MissingBlob {
        /// Its digest.
        digest: Digest,
    },
    /// The image was not built for the wanted platform.
    #[error("the image is not available for {wanted}, only for: {available}")]
    NoMatchingPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What there is, separated by commas.
        available: String,
    },
    /// Content does not hash to the digest that names it.
    #[error("blob {expected} is corrupt: its content has the digest {actual}")]
    DigestMismatch {
        /// The blob's name.
        expected: Digest,
        /// What its bytes are.
        actual: Digest,
    },
    /// A blob is longer or shorter than its descriptor says.
    #[error("blob {digest} has {actual_bytes} bytes, its descriptor says {expected_bytes}")]
    SizeMismatch {
        /// The blob.
        digest: Digest,
        /// The descriptor's size.
        expected_bytes: u64,
        /// The real one.
        actual_bytes: u64,
    },
    /// A layer's uncompressed content is not what the image's configuration says.
    #[error("layer {layer} unpacks to {actual}, but the image's configuration says {expected}")]
    DiffIdMismatch {
        /// The compressed layer.
        layer: Digest,
        /// The configuration's DiffID.
        expected: Digest,
        /// The real one.
        actual: Digest,
    },
    /// A layer's EROFS file is damaged; pulling the image again repairs it.
    #[error("the file of layer {diff_id} is damaged")]
    DamagedLayer {
        /// The layer's DiffID.
        diff_id: Digest,
    },
    /// The manifest lists another number of layers than the configuration.
    #[error("the manifest has {layers} layers, but the image's configuration lists {diff_ids}")]
    LayerCount {
        /// Of the manifest.
        layers: usize,
        /// Of the configuration.
        diff_ids: usize,
    },
    /// A manifest or index is unusable.
    #[error("manifest {digest} is invalid")]
    Document {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: Arc<DocumentError>,
    },
    /// An image configuration is unusable.
    #[error("image configuration {digest} is invalid")]
    Configuration {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: Arc<ConfigurationError>,
    },
    /// The manifest describes something else than a container image, such as a chart or a signature.
    #[error("manifest {digest} is no container image: it refers to `{media_type}`")]
    NotAnImage {
        /// The manifest.
        digest: Digest,
        /// The unknown type, escaped.
        media_type: String,
    },
    /// Indexes within indexes without end.
    #[error("index {digest} contains too many indexes within each other")]
    NestedTooDeeply {
        /// The outermost.
        digest: Digest,
    },
    /// An archive is unusable.
    #[error("the archive cannot be loaded")]
    Archive(#[source] Arc<crate::ArchiveError>),
    /// Writing an archive failed.
    #[error("cannot write the archive")]
    SaveArchive(#[source] Arc<io::Error>),
    /// The operation was abandoned.
    #[error("the operation was cancelled")]
    Cancelled,
}

impl StoreError {
    /// A failed operation on a file of the store.
    pub(crate) fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path: path.to_owned() }
            }
            _ => Self::File { operation, path: path.to_owned(), source: Arc::new(source) },
        }
    }

    /// A failed conversion into `output`.
    pub(crate) fn layer(digest: Digest, output: &Path, source: LayerError) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
                return Self::NoSpace { path: output.to_owned() };
            }
            cause = error.source();
        }
        Self::Layer { digest, source: Arc::new(source) }
    }
}
