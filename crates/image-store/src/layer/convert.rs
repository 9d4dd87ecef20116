//! The whole way of a layer: compressed bytes in, EROFS image out, hashed in between, in one pass.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use bulkhead_erofs::{Identity, WriteError, Writer};
use bulkhead_oci::{Compression, Digest, DigestHasher};

use super::tree::LayerTree;
use super::{LayerError, Limits, decompress};
use crate::tar::{Piece, Reader, TarError};

/// Volume label of a layer whose root is opaque. Overlayfs heeds no such mark on the root of a layer, so whoever
/// stacks layers must leave out those below.
pub(crate) const OPAQUE_ROOT_LABEL: [u8; 16] = *b"opaque-root\0\0\0\0\0";
/// What fits the second-level cache along with the output's buffer.
const BUFFER_BYTES: usize = 256 << 10;

/// A layer that became an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertedLayer {
    /// Digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// What the stream was compressed with.
    pub compression: Compression,
    /// Length of the uncompressed tar stream.
    pub uncompressed_bytes: u64,
    /// Length of the image.
    pub length_bytes: u64,
    /// Directories that came to be only because something lies in them; their owner, mode and time are
    /// those of a lower layer, where there is one. Sorted.
    pub implicit_directories: BTreeSet<Vec<u8>>,
}

/// Converts a layer. `output` must be empty; it is complete but not synced afterwards. Blocks.
///
/// # Errors
/// When the stream is malformed, exceeds `limits` or cannot be read, or the output fails.
pub fn convert_layer(input: impl Read, output: File, limits: &Limits) -> Result<ConvertedLayer, LayerError> {
    let buffered = BufReader::with_capacity(BUFFER_BYTES, input);
    let (compression, stream) = decompress(buffered).map_err(LayerError::Decompress)?;
    let hashing = HashingReader::new(stream, limits.max_layer_bytes);
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, hashing));
    let space = SpaceGuard::new(&output).map_err(|source| LayerError::Image(WriteError::Output(source)))?;
    let writer = Writer::new(output).map_err(LayerError::Image)?;
    let mut tree = LayerTree::new(writer, limits);
    let outcome = fill(&mut tree, &mut reader, space);
    let mut rest = reader.into_inner();
    // A limit that was hit below surfaces as a failed read; say which.
    if rest.get_ref().exceeded {
        return Err(LayerError::TooLarge { limit_bytes: limits.max_layer_bytes });
    }
    outcome?;
    // The digest covers what follows the end of the archive too.
    if let Err(error) = drain(&mut rest) {
        return Err(match rest.get_ref().exceeded {
            true => LayerError::TooLarge { limit_bytes: limits.max_layer_bytes },
            false => LayerError::Tar(TarError::Input(error)),
        });
    }
    let HashingReader { hasher, length_bytes: uncompressed_bytes, .. } = rest.into_inner();
    let diff_id = hasher.finish();
    let label = if tree.is_root_opaque() { OPAQUE_ROOT_LABEL } else { [0; 16] };
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&diff_id.bytes()[..16]);
    let implicit_directories = tree.implicit_paths()?;
    let summary = tree.writer.finish(Identity { uuid, label }).map_err(LayerError::Image)?;
    Ok(ConvertedLayer {
        diff_id,
        compression,
        uncompressed_bytes,
        length_bytes: summary.length_bytes,
        implicit_directories,
    })
}

/// The digest of a layer's uncompressed stream, where the image exists already. Blocks.
///
/// # Errors
/// When the stream cannot be read or exceeds `limits`.
pub fn hash_layer(input: impl Read, limits: &Limits) -> Result<Digest, LayerError> {
    let buffered = BufReader::with_capacity(BUFFER_BYTES, input);
    let (_, stream) = decompress(buffered).map_err(LayerError::Decompress)?;
    let mut reader =
        BufReader::with_capacity(BUFFER_BYTES, HashingReader::new(stream, limits.max_layer_bytes));
    match drain(&mut reader) {
        Ok(()) => Ok(reader.into_inner().hasher.finish()),
        Err(_) if reader.get_ref().exceeded => {
            Err(LayerError::TooLarge { limit_bytes: limits.max_layer_bytes })
        }
        Err(error) => Err(LayerError::Tar(TarError::Input(error))),
    }
}

fn fill<R: BufRead>(
    tree: &mut LayerTree<'_>,
    reader: &mut Reader<R>,
    mut space: SpaceGuard,
) -> Result<(), LayerError> {
    while let Some(entry) = reader.next_entry()? {
        let Some((parent, name)) = tree.apply(&entry)? else { continue };
        let metadata = LayerTree::metadata_of(&entry);
        let store = |source| LayerError::Store { path: entry.path.clone(), source };
        let mut file = tree.writer.create_file(parent, &name, &metadata).map_err(store)?;
        reader.read_content(|piece| -> Result<(), LayerError> {
            let outcome: Result<(), WriteError> = match piece {
                Piece::Data(bytes) => {
                    space.spend(bytes.len())?;
                    file.write(bytes)
                }
                Piece::Zeros(length_bytes) => file.write_zeros(length_bytes),
            };
            outcome.map_err(store)
        })?;
        file.finish().map_err(store)?;
    }
    Ok(())
}

/// Stops a layer before it takes the last space from everything else on the file system.
struct SpaceGuard {
    output: File,
    unchecked_bytes: usize,
}

impl SpaceGuard {
    const CHECK_EVERY_BYTES: usize = 64 << 20;
    const MAX_RESERVE_BYTES: u64 = 256 << 20;

    fn new(output: &File) -> std::io::Result<Self> {
        Ok(Self { output: output.try_clone()?, unchecked_bytes: 0 })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.unchecked_bytes += bytes;
        if self.unchecked_bytes < Self::CHECK_EVERY_BYTES {
            return Ok(());
        }
        self.unchecked_bytes = 0;
        // Where the question cannot be answered, the write itself will be.
        let Ok(space) = rustix::fs::fstatvfs(&self.output) else { return Ok(()) };
        let reserve_bytes =
            (space.f_blocks.saturating_mul(space.f_frsize) / 100).min(Self::MAX_RESERVE_BYTES);
        if space.f_bavail.saturating_mul(space.f_frsize) < reserve_bytes {
            return Err(LayerError::Reserve { reserve_bytes });
        }
        Ok(())
    }
}

fn drain(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let length = match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(bytes) => bytes.len(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        reader.consume(length);
    }
}

/// Hashes and counts what passes, and stops at a limit.
struct HashingReader<R> {
    inner: R,
    hasher: DigestHasher,
    length_bytes: u64,
    limit_bytes: u64,
    exceeded: bool,
}

impl<R> HashingReader<R> {
    fn new(inner: R, limit_bytes: u64) -> Self {
        Self { inner, hasher: DigestHasher::new(), length_bytes: 0, limit_bytes, exceeded: false }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.length_bytes += read as u64;
        if self.length_bytes > self.limit_bytes {
            self.exceeded = true;
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
