//! `verify`: everything that an image consists of, read and compared with its digests.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bulkhead_oci::{Digest, DigestHasher, Document};

use crate::StoreError;
use crate::layer::convert_layer;
use crate::store::Store;

const BUFFER_BYTES: usize = 256 << 10;

impl Store {
    /// Reads everything that an image consists of and compares it with its digests. Blocks.
    ///
    /// EROFS files have no digest of their own; each is compared with a new conversion of its layer.
    ///
    /// # Errors
    /// Names the first blob that is missing or damaged.
    pub fn verify(&self, digest: &Digest) -> Result<(), StoreError> {
        let _lease = self.lease(std::slice::from_ref(digest));
        self.document_bytes(digest)?;
        for variant in self.variants(digest)? {
            // The caches may remember what the disk has lost.
            self.document_bytes(&variant.descriptor.digest)?;
            let document = self.inner.documents.document(&self.inner.layout, &variant.descriptor.digest)?;
            let Document::Manifest(manifest) = &*document else { continue };
            self.document_bytes(&manifest.config.digest)?;
            for (layer, diff_id) in manifest.layers.iter().zip(&variant.configuration.rootfs.diff_ids) {
                self.verify_layer(&layer.digest, diff_id)?;
            }
        }
        Ok(())
    }

    fn verify_layer(&self, digest: &Digest, diff_id: &Digest) -> Result<(), StoreError> {
        let layout = &self.inner.layout;
        let path = layout.blob(digest);
        let open = |path: &std::path::Path, digest: &Digest| {
            File::open(path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => StoreError::MissingBlob { digest: *digest },
                _ => StoreError::file("open", path, source),
            })
        };
        let actual = hash(open(&path, digest)?).map_err(|source| StoreError::file("read", &path, source))?;
        if actual != *digest {
            return Err(StoreError::DigestMismatch { expected: *digest, actual });
        }
        let fresh = layout.temporary()?;
        let converted = convert_layer(open(&path, digest)?, fresh.handle()?, &self.inner.limits)
            .map_err(|error| StoreError::layer(*digest, fresh.path(), error))?;
        if converted.diff_id != *diff_id {
            let (expected, actual) = (*diff_id, converted.diff_id);
            return Err(StoreError::DiffIdMismatch { layer: *digest, expected, actual });
        }
        let stored_path = layout.layer(diff_id);
        let stored = open(&stored_path, diff_id)?;
        let fresh_file = open(fresh.path(), diff_id)?;
        let equal =
            is_equal(stored, fresh_file).map_err(|source| StoreError::file("read", &stored_path, source))?;
        if equal { Ok(()) } else { Err(StoreError::DamagedLayer { diff_id: *diff_id }) }
    }
}

fn hash(mut file: File) -> io::Result<Digest> {
    let mut hasher = DigestHasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn is_equal(left: File, right: File) -> io::Result<bool> {
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) =
        (BufReader::with_capacity(BUFFER_BYTES, left), BufReader::with_capacity(BUFFER_BYTES, right));
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = left.read(&mut one)?;
        if read == 0 {
            return Ok(true);
        }
        right.read_exact(&mut other[..read])?;
        if one[..read] != other[..read] {
            return Ok(false);
        }
    }
}
