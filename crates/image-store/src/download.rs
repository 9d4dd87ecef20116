//! Downloads under way. Whoever needs a layer that somebody already fetches waits for the same download; it ends
//! when the last one who waits gives up.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bulkhead_oci::{Descriptor, Reference};
use bulkhead_registry::Client;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_blocking};

use crate::ingest::{LayerIdentity, Presence, ingest, ingest_stored, presence};
use crate::store::Inner;
use crate::{ProgressEvent, StoreError};

/// Chunks of some 16 KiB each between network and disk.
const CHANNEL_CHUNKS: usize = 64;

type Outcome = Option<Result<(), StoreError>>;

#[derive(Debug, Default)]
pub(crate) struct Downloads(Mutex<HashMap<LayerIdentity, Weak<Download>>>);

#[derive(Debug)]
struct Download {
    /// Registry and repository: another one may have what this one has not.
    source: String,
    received_bytes: watch::Receiver<u64>,
    outcome: watch::Receiver<Outcome>,
    task: AbortHandle,
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Brings a layer into the store unless it is there.
pub(crate) async fn ensure_layer(
    inner: &Arc<Inner>,
    client: &Client,
    reference: &Reference,
    descriptor: &Descriptor,
    layer: LayerIdentity,
    progress: &(impl Fn(ProgressEvent) + Send + Sync),
) -> Result<(), StoreError> {
    let (digest, size_bytes) = (layer.digest, layer.size_bytes);
    if presence(&inner.layout, &layer)? == Presence::Complete {
        progress(ProgressEvent::LayerExists { digest });
        return Ok(());
    }
    progress(ProgressEvent::LayerStarted { digest, size_bytes });
    let mut reported_bytes = 0;
    loop {
        let (download, is_own) = inner.downloads.join(inner, client, reference, descriptor, layer);
        let outcome = watch(&download, |received_bytes| {
            if received_bytes > reported_bytes {
                progress(ProgressEvent::LayerAdvanced { digest, bytes: received_bytes - reported_bytes });
                reported_bytes = received_bytes;
            }
        })
        .await;
        match outcome {
            Ok(()) => {
                progress(ProgressEvent::LayerFinished { digest });
                return Ok(());
            }
            // Somebody else's registry failed, or their credentials did not suffice: try our own.
            Err(_) if !is_own && download.source != reference.name() => {}
            Err(error) => return Err(error),
        }
    }
}

async fn watch(download: &Download, mut advanced: impl FnMut(u64)) -> Result<(), StoreError> {
    let mut received_bytes = download.received_bytes.clone();
    let mut outcome = download.outcome.clone();
    loop {
        tokio::select! {
            biased;
            changed = received_bytes.changed() => match changed {
                Ok(()) => advanced(*received_bytes.borrow_and_update()),
                Err(_) => break,
            },
            ended = outcome.wait_for(Option::is_some) => {
                drop(ended);
                break;
            }
        }
    }
    // A download that ends without outcome was aborted with the whole runtime.
    let ended = outcome.wait_for(Option::is_some).await;
    let result = ended.map_err(|_| StoreError::Cancelled)?.clone().unwrap_or(Err(StoreError::Cancelled));
    advanced(*received_bytes.borrow());
    result
}

impl Downloads {
    fn join(
        &self,
        inner: &Arc<Inner>,
        client: &Client,
        reference: &Reference,
        descriptor: &Descriptor,
        layer: LayerIdentity,
    ) -> (Arc<Download>, bool) {
        let mut downloads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = downloads.get(&layer).and_then(Weak::upgrade);
        // One that failed may still be held by those who read its outcome.
        if let Some(running) = running.filter(|download| !matches!(*download.outcome.borrow(), Some(Err(_))))
        {
            return (running, false);
        }
        downloads.retain(|_, download| download.strong_count() > 0);
        let (received_sender, received_bytes) = watch::channel(0);
        let (outcome_sender, outcome) = watch::channel(None);
        // The task must not own the store's only handle longer than someone waits; it is aborted with the last one.
        let (inner, client, reference, descriptor) =
            (Arc::clone(inner), client.clone(), reference.clone(), descriptor.clone());
        let source = reference.name();
        let task = tokio::spawn(async move {
            let result = run(inner, client, reference, descriptor, layer, received_sender).await;
            outcome_sender.send_replace(Some(result));
        });
        let download = Arc::new(Download { source, received_bytes, outcome, task: task.abort_handle() });
        downloads.insert(layer, Arc::downgrade(&download));
        (download, true)
    }
}

async fn run(
    inner: Arc<Inner>,
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    layer: LayerIdentity,
    received: watch::Sender<u64>,
) -> Result<(), StoreError> {
    // Who asked before may have finished between our look and now.
    match presence(&inner.layout, &layer)? {
        Presence::Complete => return Ok(()),
        Presence::Blob => {
            let store = Arc::clone(&inner);
            let stored = spawn_blocking(move || ingest_stored(&store.layout, &store.limits, &layer)).await;
            match stored.map_err(|_| StoreError::Cancelled)? {
                // Damaged since it was stored: fetch it anew.
                Err(StoreError::DigestMismatch { .. }) => {}
                other => return other,
            }
        }
        Presence::Missing => {}
    }
    let (sender, receiver) = mpsc::channel(CHANNEL_CHUNKS);
    let conversion = spawn_blocking(move || {
        let mut source = ChannelReader { receiver, current: Bytes::new(), ended: false };
        ingest(&inner.layout, &inner.limits, &layer, &mut source)
    });
    let fetched = fetch(&client, &reference, &descriptor, sender, &received).await;
    let converted = conversion.await.map_err(|_| StoreError::Cancelled)?;
    // Where the download failed, the conversion only failed for lack of bytes.
    fetched?;
    converted
}

async fn fetch(
    client: &Client,
    reference: &Reference,
    descriptor: &Descriptor,
    sender: mpsc::Sender<Message>,
    received: &watch::Sender<u64>,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Registry { reference: reference.to_string(), source: Arc::new(source) };
    let mut blob = client.blob(reference, descriptor).await.map_err(failed)?;
    while let Some(chunk) = blob.next_chunk().await.map_err(failed)? {
        received.send_modify(|bytes| *bytes += chunk.len() as u64);
        // The conversion has ended early; it knows why.
        if sender.send(Message::Data(chunk)).await.is_err() {
            return Ok(());
        }
    }
    // A receiver that is gone has its own reason.
    drop(sender.send(Message::End).await);
    Ok(())
}

#[derive(Debug)]
enum Message {
    Data(Bytes),
    /// All bytes came and their digest is right.
    End,
}

/// The bytes of a download, for a thread that blocks.
struct ChannelReader {
    receiver: mpsc::Receiver<Message>,
    current: Bytes,
    ended: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Message::Data(bytes)) => self.current = bytes,
                Some(Message::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}
