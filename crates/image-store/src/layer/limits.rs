//! Bounds on what a layer may unpack to.

/// What an entry costs in memory with a name of usual length.
const USUAL_ENTRY_BYTES: u64 = 128;
/// No layer of any real image comes near this.
const MAX_METADATA_BYTES: u64 = 256 << 20;

/// Bounds on what one layer may unpack to, against bombs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed tar stream, and of all files with their holes.
    pub max_layer_bytes: u64,
    /// Files, directories and links, implied parents included.
    pub max_layer_entries: u64,
}

impl Limits {
    /// Memory for names, link targets and directories while a layer is converted, in bytes: what the entries may
    /// reasonably need, and never more than 256 MiB.
    pub(crate) fn max_metadata_bytes(&self) -> u64 {
        self.max_layer_entries
            .saturating_mul(USUAL_ENTRY_BYTES)
            .saturating_add(1 << 20)
            .min(MAX_METADATA_BYTES)
    }
}

impl Default for Limits {
    /// 64 GiB, 4 million entries.
    fn default() -> Self {
        Self { max_layer_bytes: 64 << 30, max_layer_entries: 4_000_000 }
    }
}
