//! Garbage collection: what neither a root nor a lease leads to is removed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bulkhead_oci::Digest;

use crate::StoreError;
use crate::lease::{CollectionMark, Lease};
use crate::resolve::closure;
use crate::store::Store;

/// What a collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Digests of manifests, configurations, compressed layers, and DiffIDs of EROFS files.
    pub blobs: Vec<Digest>,
    /// Disk space that came free, in bytes.
    pub freed_bytes: u64,
}

/// A garbage collection that has begun: whatever holds a lease from now on is kept by it.
#[derive(Debug)]
pub struct Collection {
    store: Store,
    _mark: CollectionMark,
}

impl Store {
    /// Protects the images of these digests, with all that they lead to now, until the lease is dropped.
    pub fn lease(&self, digests: &[Digest]) -> Lease {
        // Protect the roots first: their documents must not vanish while they are read.
        let lease = self.inner.leases.lease(digests.iter().copied());
        lease.add(closure(&self.inner, digests.iter().copied()));
        lease
    }

    /// Begins a garbage collection. Read the roots only after this call, so that an image which was recorded and
    /// whose lease was dropped in between is not missed.
    #[must_use]
    pub fn begin_collection(&self) -> Collection {
        Collection { store: self.clone(), _mark: self.inner.leases.begin_collection() }
    }

    /// [`Self::begin_collection`] and [`Collection::sweep`] in one, with `roots` read in between. Blocks.
    ///
    /// # Errors
    /// As [`Collection::sweep`].
    pub fn remove_unreferenced(&self, roots: impl FnOnce() -> Vec<Digest>) -> Result<Collected, StoreError> {
        let collection = self.begin_collection();
        collection.sweep(&roots())
    }
}

impl Collection {
    /// Removes all content that neither `roots` nor a lease leads to. Blocks.
    ///
    /// # Errors
    /// When a root's documents are damaged, as what they lead to is then unknown, or a file cannot be removed.
    /// Nothing that is in use is removed in either case.
    pub fn sweep(self, roots: &[Digest]) -> Result<Collected, StoreError> {
        let inner = &self.store.inner;
        for root in roots {
            match inner.documents.document(&inner.layout, root) {
                Ok(_) | Err(StoreError::MissingBlob { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let marked = closure(inner, roots.iter().copied().chain(inner.leases.leased()));
        let mut collected = Collected::default();
        inner.resolved.clear();
        for directory in inner.layout.content_directories() {
            let entries =
                fs::read_dir(&directory).map_err(|source| StoreError::file("read", &directory, source))?;
            for entry in entries {
                let path = entry.map_err(|source| StoreError::file("read", &directory, source))?.path();
                let Some(digest) = digest_of(&path).filter(|digest| !marked.contains(digest)) else {
                    continue;
                };
                inner.documents.forget(&digest);
                let removed = inner.leases.unless_leased(&digest, || remove(&path));
                if let Some(freed_bytes) = removed.transpose()? {
                    collected.freed_bytes = collected.freed_bytes.saturating_add(freed_bytes);
                    collected.blobs.push(digest);
                }
            }
        }
        collected.blobs.sort();
        collected.blobs.dedup();
        Ok(collected)
    }
}

/// The digest in a file's name; files with other names are not ours to remove.
pub(crate) fn digest_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    Digest::from_hex(name.split('.').next()?).ok()
}

fn remove(path: &Path) -> Result<u64, StoreError> {
    let freed_bytes = fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks().saturating_mul(512));
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", path, error))
        }
        _ => Ok(freed_bytes),
    }
}
