//! How much disk space content takes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use bulkhead_oci::Digest;

use crate::StoreError;
use crate::collect::digest_of;
use crate::resolve::closure;
use crate::store::Store;

/// stat(2): `st_blocks` counts these, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Disk space that content takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentUsage {
    /// All of it.
    pub total_bytes: u64,
    /// What neither the used images nor a lease lead to.
    pub unused_bytes: u64,
}

impl Store {
    /// Disk space of the store's content, given the images that must stay. Blocks.
    ///
    /// # Errors
    /// A directory of the store cannot be read.
    pub fn usage(&self, used: &[Digest]) -> Result<ContentUsage, StoreError> {
        let inner = &self.inner;
        let marked = closure(inner, used.iter().copied().chain(inner.leases.leased()));
        let mut usage = ContentUsage::default();
        for directory in inner.layout.content_directories() {
            let entries =
                fs::read_dir(&directory).map_err(|source| StoreError::file("read", &directory, source))?;
            for entry in entries {
                let entry = entry.map_err(|source| StoreError::file("read", &directory, source))?;
                // Collected meanwhile: takes no space.
                let Ok(metadata) = entry.metadata() else { continue };
                let bytes = metadata.blocks().saturating_mul(BLOCK_BYTES);
                usage.total_bytes = usage.total_bytes.saturating_add(bytes);
                if digest_of(&entry.path()).is_some_and(|digest| !marked.contains(&digest)) {
                    usage.unused_bytes = usage.unused_bytes.saturating_add(bytes);
                }
            }
        }
        Ok(usage)
    }
}
