//! Blobs as they arrive, checked and resumed.

use bulkhead_oci::{Descriptor, Digest, DigestHasher};
use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::RegistryError;
use crate::ahead::{Ahead, Missing};
use crate::client::Client;
use crate::transport::display_host;

/// A registry that sends a little each time before it fails is given up as well.
const MAX_INTERRUPTIONS: u32 = 32;
/// Connections for parts that fail so often are given up for the one.
const MAX_PART_FAILURES: u32 = 3;

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
    watch: Watch,
    /// What further connections fetch, beyond what comes over this one.
    ahead: Option<Ahead>,
    part_failures: u32,
}

/// Whether the network keeps whoever takes the bytes waiting.
#[derive(Debug)]
struct Watch {
    started: Instant,
    waited: Duration,
    bytes: u64,
}

impl Watch {
    fn start() -> Self {
        Self { started: Instant::now(), waited: Duration::ZERO, bytes: 0 }
    }
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
            watch: Watch::start(),
            ahead: None,
            part_failures: 0,
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
            if let Some(piece) = self.next_of_parts().await? {
                self.account(&piece)?;
                return Ok(Some(piece));
            }
            let interruption = match self.read().await {
                Ok(Some(bytes)) => {
                    let Some(bytes) = self.skip(bytes) else { continue };
                    let Some(bytes) = self.up_to_parts(bytes) else { continue };
                    self.account(&bytes)?;
                    self.split_if_slow();
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

    /// What further connections brought, once it is its turn. Where they fail, this one goes on alone.
    async fn next_of_parts(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(ahead) = self.ahead.as_mut().filter(|ahead| ahead.begin_bytes() == self.received_bytes)
        else {
            return Ok(None);
        };
        // What it would bring comes from others.
        self.response = None;
        let missing = match ahead.next_piece().await {
            Ok(piece) => return Ok(Some(piece)),
            Err(missing) => missing,
        };
        self.ahead = None;
        self.part_failures += match missing {
            Missing::Unasked => 0,
            Missing::Failed => 1,
            Missing::Refused => MAX_PART_FAILURES,
        };
        if self.received_bytes < self.size_bytes {
            tracing::debug!(
                ?missing,
                received_bytes = self.received_bytes,
                "blob goes on over one connection"
            );
            self.connect().await?;
        }
        Ok(None)
    }

    /// Drops bytes that further connections bring as well.
    fn up_to_parts(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        let Some(ahead) = &self.ahead else { return Some(bytes) };
        let left = ahead.begin_bytes() - self.received_bytes;
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Begins to fetch parts where this connection is what everything waits for.
    fn split_if_slow(&mut self) {
        let splitting = &self.client.transport().patience().splitting;
        let elapsed = self.watch.started.elapsed();
        if self.ahead.is_some() || elapsed < splitting.watch {
            return;
        }
        let watch = std::mem::replace(&mut self.watch, Watch::start());
        let is_slow = watch.waited * 4 > elapsed * 3
            && u128::from(watch.bytes) * 1000
                < u128::from(splitting.enough_bytes_per_second) * elapsed.as_millis();
        let begin_bytes = self.received_bytes.saturating_add(splitting.part_bytes);
        let is_worth_it = self.size_bytes.saturating_sub(begin_bytes) >= splitting.min_left_bytes;
        if is_slow && is_worth_it && self.part_failures < MAX_PART_FAILURES {
            tracing::debug!(digest = %self.digest, bytes = watch.bytes, ?elapsed, "blob is fetched in parts");
            self.ahead = Some(Ahead::start(
                &self.client,
                &self.repository,
                &self.digest,
                self.size_bytes,
                begin_bytes,
            ));
        }
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        let offset_bytes = self.received_bytes;
        let response = self.client.open_blob(&self.repository, &self.digest, offset_bytes, None).await?;
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
        self.watch = Watch::start();
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let patience = self.client.transport().patience();
        let Some(response) = &mut self.response else { return Ok(None) };
        let registry = display_host(response.url());
        let asked = Instant::now();
        match timeout(patience.idle, response.chunk()).await {
            Ok(Ok(chunk)) => {
                self.watch.waited += asked.elapsed();
                self.watch.bytes += chunk.as_ref().map_or(0, Bytes::len) as u64;
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
pub(crate) fn range_start(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
