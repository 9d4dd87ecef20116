//! Blobs as they arrive, checked and resumed.

use bulkhead_oci::{Descriptor, Digest, DigestHasher};
use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use crate::RegistryError;
use crate::client::Client;
use crate::transport::display_host;

/// A registry that sends a little each time before it fails is given up as well.
const MAX_INTERRUPTIONS: u32 = 32;

/// The bytes of a blob. The end is reported only after size and digest proved right.
#[derive(Debug)]
pub struct BlobStream {
    client: Client,
    repository: String,
    digest: Digest,
    size_bytes: u64,
    received_bytes: u64,
    hasher: DigestHasher,
    response: Option<Response>,
    /// Bytes at the start of the current body that came before, where a registry ignores ranges.
    skip_bytes: u64,
    /// Interruptions since the last progress, and all of them.
    failures: u32,
    interruptions: u32,
    window_started: Instant,
    window_bytes: u64,
}

impl BlobStream {
    pub(crate) async fn open(
        client: Client,
        repository: String,
        descriptor: &Descriptor,
    ) -> Result<Self, RegistryError> {
        let mut stream = Self {
            client,
            repository,
            digest: descriptor.digest,
            size_bytes: descriptor.size_bytes,
            received_bytes: 0,
            hasher: DigestHasher::new(),
            response: None,
            skip_bytes: 0,
            failures: 0,
            interruptions: 0,
            window_started: Instant::now(),
            window_bytes: 0,
        };
        stream.connect().await?;
        Ok(stream)
    }

    /// The next bytes; `None` once the blob is complete and right.
    ///
    /// # Errors
    /// When the blob is longer or shorter than its descriptor says, has another digest, or the registry fails for
    /// good. All bytes given out before are then worthless.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let interruption = match self.read().await {
                Ok(Some(bytes)) => {
                    let Some(bytes) = self.skip(bytes) else { continue };
                    self.account(&bytes)?;
                    return Ok(Some(bytes));
                }
                Ok(None) if self.received_bytes == self.size_bytes => return self.conclude().map(|()| None),
                Ok(None) => RegistryError::Truncated {
                    registry: self.client.registry().to_owned(),
                    digest: self.digest,
                    received_bytes: self.received_bytes,
                    expected_bytes: self.size_bytes,
                },
                Err(error) => error,
            };
            self.response = None;
            self.failures += 1;
            self.interruptions += 1;
            let patience = self.client.transport().patience();
            if self.failures >= patience.attempts || self.interruptions >= MAX_INTERRUPTIONS {
                return Err(interruption);
            }
            let delay = patience.delay(self.failures, None);
            tracing::debug!(error = %interruption, received_bytes = self.received_bytes, "blob is resumed");
            sleep(delay).await;
            self.connect().await?;
        }
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        let offset_bytes = self.received_bytes;
        let response = self.client.open_blob(&self.repository, &self.digest, offset_bytes).await?;
        let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
        if is_partial && range_start(&response) != Some(offset_bytes) {
            return Err(RegistryError::Status {
                registry: display_host(response.url()),
                status: response.status().as_u16(),
                detail: ": it sent another range than asked for".to_owned(),
            });
        }
        self.skip_bytes = if is_partial { 0 } else { offset_bytes };
        // A registry that announces another size need not be listened to.
        let body_offset = offset_bytes - self.skip_bytes;
        if let Some(announced_bytes) = response.content_length()
            && announced_bytes.saturating_add(body_offset) != self.size_bytes
        {
            return Err(self.size_mismatch(announced_bytes.saturating_add(body_offset)));
        }
        self.response = Some(response);
        self.window_started = Instant::now();
        self.window_bytes = 0;
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let patience = self.client.transport().patience();
        let Some(response) = &mut self.response else { return Ok(None) };
        let registry = display_host(response.url());
        match timeout(patience.idle, response.chunk()).await {
            Ok(Ok(chunk)) => {
                self.window_bytes += chunk.as_ref().map_or(0, Bytes::len) as u64;
                if self.window_started.elapsed() >= patience.window {
                    // A byte now and then keeps a connection alive but brings no blob.
                    if chunk.is_some() && self.window_bytes < patience.min_window_bytes {
                        return Err(RegistryError::Stalled {
                            registry,
                            waited_seconds: patience.window.as_secs(),
                        });
                    }
                    self.window_started = Instant::now();
                    self.window_bytes = 0;
                }
                Ok(chunk)
            }
            Ok(Err(error)) => Err(RegistryError::Unreachable { registry, source: error.without_url() }),
            Err(_) => Err(RegistryError::Stalled { registry, waited_seconds: patience.idle.as_secs() }),
        }
    }

    /// Drops bytes that were received before the last interruption.
    fn skip(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        let length = usize::try_from(self.skip_bytes).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip_bytes -= length as u64;
        let rest = bytes.split_off(length);
        (!rest.is_empty()).then_some(rest)
    }

    fn account(&mut self, bytes: &Bytes) -> Result<(), RegistryError> {
        self.received_bytes += bytes.len() as u64;
        if self.received_bytes > self.size_bytes {
            return Err(self.size_mismatch(self.received_bytes));
        }
        self.failures = 0;
        self.hasher.update(bytes);
        Ok(())
    }

    fn conclude(&mut self) -> Result<(), RegistryError> {
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual == self.digest {
            return Ok(());
        }
        let registry = self.client.registry().to_owned();
        Err(RegistryError::DigestMismatch { registry, expected: self.digest, actual })
    }

    fn size_mismatch(&self, actual_bytes: u64) -> RegistryError {
        RegistryError::SizeMismatch {
            registry: self.client.registry().to_owned(),
            digest: self.digest,
            expected_bytes: self.size_bytes,
            actual_bytes,
        }
    }
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
