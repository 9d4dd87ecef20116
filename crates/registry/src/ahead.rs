//! Parts of a blob that are fetched over connections of their own while what comes before them arrives.

use std::collections::VecDeque;

use bulkhead_oci::Digest;
use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::blob::range_start;
use crate::client::Client;

/// What is given out at once; whoever gets it may queue many.
const PIECE_BYTES: usize = 64 << 10;

/// A part that is complete.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Why there is no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// None was asked for: there is no room, or the blob ends.
    Unasked,
    /// The registry does not serve parts, or too slowly.
    Refused,
    /// The connection failed.
    Failed,
}

/// The parts that come next, in order.
#[derive(Debug)]
pub(crate) struct Ahead {
    client: Client,
    repository: String,
    digest: Digest,
    size_bytes: u64,
    /// Where the first part begins that was not given out.
    begin_bytes: u64,
    /// Where the first part begins that was not asked for.
    next_bytes: u64,
    tasks: VecDeque<Task>,
    current: Option<Part>,
}

#[derive(Debug)]
struct Task {
    handle: JoinHandle<Result<Part, Missing>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Ahead {
    /// Begins to fetch what follows `begin_bytes`.
    pub(crate) fn start(
        client: &Client,
        repository: &str,
        digest: &Digest,
        size_bytes: u64,
        begin_bytes: u64,
    ) -> Self {
        let mut ahead = Self {
            client: client.clone(),
            repository: repository.to_owned(),
            digest: *digest,
            size_bytes,
            begin_bytes,
            next_bytes: begin_bytes,
            tasks: VecDeque::new(),
            current: None,
        };
        ahead.fill();
        ahead
    }

    /// Up to where the first connection is to go.
    pub(crate) fn begin_bytes(&self) -> u64 {
        self.begin_bytes
    }

    /// The next piece of the parts.
    pub(crate) async fn next_piece(&mut self) -> Result<Bytes, Missing> {
        loop {
            if let Some(part) = &mut self.current {
                let piece = part.bytes.split_to(part.bytes.len().min(PIECE_BYTES));
                if !piece.is_empty() {
                    self.begin_bytes += piece.len() as u64;
                    return Ok(piece);
                }
                self.current = None;
            }
            self.fill();
            let mut task = self.tasks.pop_front().ok_or(Missing::Unasked)?;
            self.current = Some((&mut task.handle).await.unwrap_or(Err(Missing::Failed))?);
        }
    }

    fn fill(&mut self) {
        let splitting = &self.client.transport().patience().splitting;
        while self.tasks.len() < splitting.parts && self.next_bytes < self.size_bytes {
            let Some(room) = self.client.transport().room_for_part() else { return };
            let begin = self.next_bytes;
            let end = self.size_bytes.min(begin.saturating_add(splitting.part_bytes));
            let (client, repository, digest) = (self.client.clone(), self.repository.clone(), self.digest);
            let handle = tokio::spawn(async move {
                let limit = client.transport().patience().window;
                let fetching = fetch(&client, &repository, &digest, begin, end);
                let bytes = timeout(limit, fetching).await.unwrap_or(Err(Missing::Refused))?;
                Ok(Part { bytes, _room: room })
            });
            self.tasks.push_back(Task { handle });
            self.next_bytes = end;
        }
    }
}

async fn fetch(
    client: &Client,
    repository: &str,
    digest: &Digest,
    begin_bytes: u64,
    end_bytes: u64,
) -> Result<Bytes, Missing> {
    let opened = client.open_blob(repository, digest, begin_bytes, Some(end_bytes)).await;
    let mut response = opened.map_err(|_| Missing::Failed)?;
    let is_asked_for = response.status() == StatusCode::PARTIAL_CONTENT
        && range_start(&response) == Some(begin_bytes)
        && response.content_length().is_none_or(|length| length == end_bytes - begin_bytes);
    if !is_asked_for {
        return Err(Missing::Refused);
    }
    let length = usize::try_from(end_bytes - begin_bytes).map_err(|_| Missing::Refused)?;
    let mut bytes = BytesMut::with_capacity(length);
    let idle = client.transport().patience().idle;
    while let Some(chunk) =
        timeout(idle, response.chunk()).await.map_err(|_| Missing::Failed)?.map_err(|_| Missing::Failed)?
    {
        if bytes.len() + chunk.len() > length {
            return Err(Missing::Refused);
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() == length { Ok(bytes.freeze()) } else { Err(Missing::Failed) }
}
