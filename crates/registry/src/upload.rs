//! Part of a local file on its way to a registry.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_oci::{Digest, DigestHasher};
use bytes::Bytes;
use futures_util::stream;
use tokio::task::spawn_blocking;

use crate::RegistryError;

const PIECE_BYTES: u64 = 256 << 10;

/// A range of a file, read while it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    file: Arc<File>,
    digest: Digest,
    offset_bytes: u64,
    length_bytes: u64,
    /// Whether the range is the whole blob, whose digest can be checked.
    is_whole: bool,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Taken by the connection so far.
    sent_bytes: AtomicU64,
    failure: Mutex<Option<RegistryError>>,
}

impl Upload {
    pub(crate) fn new(
        file: Arc<File>,
        digest: Digest,
        offset_bytes: u64,
        length_bytes: u64,
        is_whole: bool,
    ) -> Self {
        Self { file, digest, offset_bytes, length_bytes, is_whole, state: Arc::default() }
    }

    pub(crate) fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.state.sent_bytes.load(Ordering::Relaxed)
    }

    /// Why the file could not be read, if that is what went wrong.
    pub(crate) fn take_failure(&self) -> Option<RegistryError> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The bytes, from the start of the range.
    pub(crate) fn body(&self) -> reqwest::Body {
        self.state.sent_bytes.store(0, Ordering::Relaxed);
        let start = (self.clone(), DigestHasher::new(), 0);
        reqwest::Body::wrap_stream(stream::try_unfold(start, |(upload, hasher, position)| async move {
            if position >= upload.length_bytes {
                return Ok::<_, io::Error>(None);
            }
            let reader = upload.clone();
            let read = spawn_blocking(move || reader.read(hasher, position)).await;
            match read.unwrap_or_else(|_| Err(RegistryError::Source { digest: upload.digest, source: None }))
            {
                Ok((piece, hasher)) => {
                    let position = position + piece.len() as u64;
                    upload.state.sent_bytes.store(position, Ordering::Relaxed);
                    Ok(Some((piece, (upload, hasher, position))))
                }
                Err(error) => {
                    *upload.state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Err(io::ErrorKind::InvalidData.into())
                }
            }
        }))
    }

    /// The piece at a position. The last one is given out only if the whole has the right digest.
    fn read(&self, mut hasher: DigestHasher, position: u64) -> Result<(Bytes, DigestHasher), RegistryError> {
        let length = PIECE_BYTES.min(self.length_bytes - position);
        let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file
            .read_exact_at(&mut piece, self.offset_bytes + position)
            .map_err(|source| RegistryError::Source { digest: self.digest, source: Some(source) })?;
        if self.is_whole {
            hasher.update(&piece);
            if position + length == self.length_bytes {
                let actual = std::mem::take(&mut hasher).finish();
                if actual != self.digest {
                    return Err(RegistryError::Source { digest: self.digest, source: None });
                }
            }
        }
        Ok((Bytes::from(piece), hasher))
    }
}
