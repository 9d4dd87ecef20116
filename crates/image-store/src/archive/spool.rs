//! An archive's files on disk, under numbers; a pipe cannot be read twice, and the manifest may come last.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use bulkhead_oci::{Digest, DigestHasher, MAX_DOCUMENT_BYTES};

use super::ArchiveError;
use super::names::{follow, normalise};
use crate::files::{Layout, TemporaryFile};
use crate::layer::{Limits, decompress};
use crate::tar::{Kind, Piece, Reader};
use crate::{Lease, StoreError};

const BUFFER_BYTES: usize = 256 << 10;
const MAX_ENTRIES: usize = 100_000;
/// An archive holds several layers, each of which may be as large as the limit.
const LAYERS_PER_ARCHIVE: u64 = 16;
/// Links to links; `docker save` needs one step.
const MAX_LINKS: usize = 8;

/// A file of the archive.
#[derive(Debug)]
pub(super) struct SpooledFile {
    pub(super) file: TemporaryFile,
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
}

#[derive(Debug)]
enum Item {
    File(Digest),
    Link(Vec<u8>),
}

/// All files of an archive. Dropping it removes those that were not taken over.
#[derive(Debug, Default)]
pub(super) struct Spool {
    items: HashMap<Vec<u8>, Item>,
    files: HashMap<Digest, SpooledFile>,
}

fn archive(error: impl Into<ArchiveError>) -> StoreError {
    StoreError::Archive(Arc::new(error.into()))
}

impl Spool {
    /// Reads a whole archive. Its content is protected by `lease` from the moment its digest is known.
    pub(super) fn read(
        layout: &Layout,
        limits: &Limits,
        lease: &Lease,
        input: impl Read,
    ) -> Result<Self, StoreError> {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, input);
        let (_, stream) = decompress(buffered).map_err(|error| archive(ArchiveError::Read(error)))?;
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, stream));
        let limit_bytes = limits.max_layer_bytes.saturating_mul(LAYERS_PER_ARCHIVE);
        let mut total_bytes = 0_u64;
        let mut spool = Self::default();
        while let Some(entry) = reader.next_entry().map_err(archive)? {
            let path = normalise(&entry.path).map_err(archive)?;
            if spool.items.len() >= MAX_ENTRIES {
                return Err(archive(ArchiveError::TooManyEntries { limit: MAX_ENTRIES }));
            }
            let item = match entry.kind {
                Kind::Directory => continue,
                Kind::Symlink => Item::Link(follow(&path, &entry.link_target).map_err(archive)?),
                Kind::HardLink => Item::Link(normalise(&entry.link_target).map_err(archive)?),
                Kind::File => {
                    total_bytes = total_bytes.saturating_add(entry.size_bytes);
                    if total_bytes > limit_bytes {
                        return Err(archive(ArchiveError::TooLarge { limit_bytes }));
                    }
                    let file = spool_file(layout, &mut reader)?;
                    check_blob_name(&path, &file.digest).map_err(archive)?;
                    lease.add([file.digest]);
                    let digest = file.digest;
                    // Of equal files only the first is needed.
                    spool.files.entry(digest).or_insert(file);
                    Item::File(digest)
                }
                _ => return Err(archive(ArchiveError::Kind { path })),
            };
            if path.is_empty() || spool.items.contains_key(&path) {
                return Err(archive(ArchiveError::Duplicate { path }));
            }
            spool.items.insert(path, item);
        }
        Ok(spool)
    }

    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.items.contains_key(path)
    }

    /// Digest and size of a file, through links.
    pub(super) fn find(&self, path: &[u8]) -> Result<Digest, ArchiveError> {
        let mut current = path;
        for _ in 0..=MAX_LINKS {
            match self.items.get(current) {
                Some(Item::Link(target)) => current = target,
                Some(Item::File(digest)) => return Ok(*digest),
                None if current == path => return Err(ArchiveError::Missing { path: path.to_vec() }),
                None => break,
            }
        }
        Err(ArchiveError::Link { path: path.to_vec() })
    }

    /// The file of that content, if it is in the archive and was not taken.
    pub(super) fn get(&self, digest: &Digest) -> Option<&SpooledFile> {
        self.files.get(digest)
    }

    /// Takes a file over.
    pub(super) fn take(&mut self, digest: &Digest) -> Option<SpooledFile> {
        self.files.remove(digest)
    }

    /// A small file's bytes, by name.
    pub(super) fn document(&self, path: &[u8]) -> Result<Vec<u8>, StoreError> {
        let digest = self.find(path).map_err(archive)?;
        self.bytes(&digest).ok_or_else(|| {
            archive(ArchiveError::DocumentTooLarge { path: path.to_vec(), limit_bytes: MAX_DOCUMENT_BYTES })
        })?
    }

    /// A small file's bytes; `None` if it is too large or not there.
    pub(super) fn bytes(&self, digest: &Digest) -> Option<Result<Vec<u8>, StoreError>> {
        use std::os::unix::fs::FileExt;
        let spooled = self.get(digest)?;
        let length =
            usize::try_from(spooled.size_bytes).ok().filter(|length| *length <= MAX_DOCUMENT_BYTES)?;
        let mut bytes = vec![0; length];
        let read = spooled.file.file().read_exact_at(&mut bytes, 0);
        Some(read.map(|()| bytes).map_err(|source| StoreError::file("read", spooled.file.path(), source)))
    }
}

fn spool_file<R: std::io::BufRead>(
    layout: &Layout,
    reader: &mut Reader<R>,
) -> Result<SpooledFile, StoreError> {
    let temporary = layout.temporary()?;
    let mut hasher = DigestHasher::new();
    let mut size_bytes = 0;
    let outcome = reader.read_content(|piece| -> Result<(), Failure> {
        let mut write = |bytes: &[u8]| {
            hasher.update(bytes);
            size_bytes += bytes.len() as u64;
            let written = (&mut temporary.file()).write_all(bytes);
            written.map_err(|source| Failure::Store(StoreError::file("write", temporary.path(), source)))
        };
        match piece {
            Piece::Data(bytes) => write(bytes),
            Piece::Zeros(mut length_bytes) => {
                static ZEROS: [u8; 65_536] = [0; 65_536];
                while length_bytes > 0 {
                    let length =
                        usize::try_from(length_bytes).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
                    write(&ZEROS[..length])?;
                    length_bytes -= length as u64;
                }
                Ok(())
            }
        }
    });
    match outcome {
        Ok(()) => Ok(SpooledFile { file: temporary, digest: hasher.finish(), size_bytes }),
        Err(Failure::Store(error)) => Err(error),
        Err(Failure::Tar(error)) => Err(archive(error)),
    }
}

/// Reading or writing failed.
enum Failure {
    Tar(crate::tar::TarError),
    Store(StoreError),
}

impl From<crate::tar::TarError> for Failure {
    fn from(error: crate::tar::TarError) -> Self {
        Self::Tar(error)
    }
}

/// In `blobs/sha256/` the name promises the digest.
fn check_blob_name(path: &[u8], actual: &Digest) -> Result<(), ArchiveError> {
    let Some(name) = path.strip_prefix(b"blobs/sha256/") else { return Ok(()) };
    let name = std::str::from_utf8(name).unwrap_or_default();
    let expected =
        Digest::from_hex(name).map_err(|source| ArchiveError::BlobName { path: path.to_vec(), source })?;
    if expected == *actual { Ok(()) } else { Err(ArchiveError::DigestMismatch { expected, actual: *actual }) }
}
