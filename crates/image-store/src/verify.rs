//! Everything that an image consists of, read and compared with its digests, and mended where that is possible.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bulkhead_oci::{Digest, DigestHasher, Document};

use crate::StoreError;
use crate::files::{TemporaryFile, length_of};
use crate::layer::convert_layer;
use crate::parents::fresh_correction;
use crate::resolve::layer_files;
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
        self.check(digest, &mut |damage| Err(damage.error))
    }

    /// As [`Self::verify`], but EROFS files that are damaged or missing are made anew, and damaged layers are
    /// removed: without them the next pull brings them again. Machines that run keep the files that they have.
    /// Returns the DiffIDs of the layers that were made anew. Blocks.
    ///
    /// # Errors
    /// Names the first blob that is missing or was damaged.
    pub fn repair(&self, digest: &Digest) -> Result<Vec<Digest>, StoreError> {
        let mut repaired = Vec::new();
        self.check(digest, &mut |damage| match damage.remedy {
            Remedy::Replace { fresh, diff_id } => {
                repaired.push(diff_id);
                fresh.publish(&self.inner.layout.layer(&diff_id))
            }
            Remedy::Remove { path } => {
                fs::remove_file(&path).map_err(|source| StoreError::file("remove", &path, source))?;
                Err(damage.error)
            }
            Remedy::None => Err(damage.error),
        })?;
        Ok(repaired)
    }

    fn check(&self, digest: &Digest, found: &mut Found<'_>) -> Result<(), StoreError> {
        let _lease = self.lease(std::slice::from_ref(digest));
        self.check_document(digest, found)?;
        for variant in self.variants(digest)? {
            // The caches may remember what the disk has lost.
            self.check_document(&variant.descriptor.digest, found)?;
            let document = self.inner.documents.document(&self.inner.layout, &variant.descriptor.digest)?;
            let Document::Manifest(manifest) = &*document else { continue };
            self.check_document(&manifest.config.digest, found)?;
            for (layer, diff_id) in manifest.layers.iter().zip(&variant.configuration.rootfs.diff_ids) {
                self.check_blob(&layer.digest, found)?;
                self.check_layer(&layer.digest, diff_id, found)?;
            }
            self.check_correction(&variant.configuration.rootfs.diff_ids, found)?;
        }
        Ok(())
    }

    fn check_document(&self, digest: &Digest, found: &mut Found<'_>) -> Result<(), StoreError> {
        match self.document_bytes(digest) {
            Ok(_) => Ok(()),
            Err(error) => found(Damage { error, remedy: Remedy::None }),
        }
    }

    fn check_blob(&self, digest: &Digest, found: &mut Found<'_>) -> Result<(), StoreError> {
        let path = self.inner.layout.blob(digest);
        let file = open(&path, digest)?;
        let actual = hash(file).map_err(|source| StoreError::file("read", &path, source))?;
        if actual == *digest {
            return Ok(());
        }
        let error = StoreError::DigestMismatch { expected: *digest, actual };
        found(Damage { error, remedy: Remedy::Remove { path } })
    }

    /// Compares the EROFS file with what a sound blob makes.
    fn check_layer(
        &self,
        digest: &Digest,
        diff_id: &Digest,
        found: &mut Found<'_>,
    ) -> Result<(), StoreError> {
        let layout = &self.inner.layout;
        let path = layout.blob(digest);
        let fresh = layout.temporary()?;
        let converted = convert_layer(open(&path, digest)?, fresh.handle()?, &self.inner.limits)
            .map_err(|error| StoreError::layer(*digest, fresh.path(), error))?;
        if converted.diff_id != *diff_id {
            let (expected, actual) = (*diff_id, converted.diff_id);
            return Err(StoreError::DiffIdMismatch { layer: *digest, expected, actual });
        }
        self.compare(fresh, *diff_id, found)
    }

    /// The layer on top that corrects directories is made by us; it may not have been asked for yet.
    fn check_correction(&self, diff_ids: &[Digest], found: &mut Found<'_>) -> Result<(), StoreError> {
        let layout = &self.inner.layout;
        match fresh_correction(layout, &layer_files(layout, diff_ids)?)? {
            Some((diff_id, fresh)) if length_of(&layout.layer(&diff_id))?.is_some() => {
                self.compare(fresh, diff_id, found)
            }
            _ => Ok(()),
        }
    }

    fn compare(
        &self,
        fresh: TemporaryFile,
        diff_id: Digest,
        found: &mut Found<'_>,
    ) -> Result<(), StoreError> {
        let stored_path = self.inner.layout.layer(&diff_id);
        let is_sound = || {
            let (stored, made) = (open(&stored_path, &diff_id)?, open(fresh.path(), &diff_id)?);
            is_equal(stored, made).map_err(|source| StoreError::file("read", &stored_path, source))
        };
        let error = match is_sound() {
            Ok(true) => return Ok(()),
            Ok(false) => StoreError::DamagedLayer { diff_id },
            Err(error) => error,
        };
        found(Damage { error, remedy: Remedy::Replace { fresh, diff_id } })
    }
}

/// What is wrong with one file.
struct Damage {
    error: StoreError,
    remedy: Remedy,
}

enum Remedy {
    /// A pull writes documents anew in any case.
    None,
    /// A pull takes a layer that is there for whole.
    Remove {
        path: PathBuf,
    },
    Replace {
        fresh: TemporaryFile,
        diff_id: Digest,
    },
}

/// Ends the check with an error, or lets it go on.
type Found<'a> = dyn FnMut(Damage) -> Result<(), StoreError> + 'a;

fn open(path: &Path, digest: &Digest) -> Result<File, StoreError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::MissingBlob { digest: *digest },
        _ => StoreError::file("open", path, source),
    })
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
