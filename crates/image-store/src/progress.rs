//! What pulls and loads report while they run.

use bulkhead_oci::Digest;

/// A step of a pull or load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// All layers of the image are known.
    Planned {
        /// How many, each counted once.
        layers: usize,
        /// Their compressed size in bytes, also of those that are here already.
        total_bytes: u64,
    },
    /// A layer is in the store already.
    LayerExists {
        /// The compressed layer.
        digest: Digest,
    },
    /// A layer's download or conversion has begun.
    LayerStarted {
        /// The compressed layer.
        digest: Digest,
        /// Its compressed size in bytes.
        size_bytes: u64,
    },
    /// More of a layer has arrived.
    LayerAdvanced {
        /// The compressed layer.
        digest: Digest,
        /// Compressed bytes since the last event of this kind.
        bytes: u64,
    },
    /// A layer is converted and safely on disk.
    LayerFinished {
        /// The compressed layer.
        digest: Digest,
    },
}
