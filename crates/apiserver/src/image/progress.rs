//! From the store's progress to the client's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulkhead_api::event::StreamEvent;
use bulkhead_image_store::ProgressEvent;
use bulkhead_oci::Digest;

use crate::events::EventSink;

/// Often enough for a smooth bar.
const INTERVAL: Duration = Duration::from_millis(50);

/// Adds up what arrived of each layer.
#[derive(Debug)]
pub(super) struct Progress {
    sink: EventSink,
    layers: Mutex<HashMap<Digest, Layer>>,
    /// Told before the first layer.
    announcement: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Layer {
    completed_bytes: u64,
    total_bytes: u64,
    told: Option<Instant>,
}

impl Progress {
    pub(super) fn new(sink: &EventSink) -> Self {
        Self::announced(sink, None)
    }

    pub(super) fn announced(sink: &EventSink, announcement: Option<String>) -> Self {
        Self { sink: sink.clone(), layers: Mutex::default(), announcement: Mutex::new(announcement) }
    }

    pub(super) fn report(&self, event: ProgressEvent) {
        let (digest, added, finished) = match event {
            ProgressEvent::LayerStarted { digest, size_bytes } => {
                if let Some(message) = self.announcement.lock().unwrap_or_else(PoisonError::into_inner).take()
                {
                    self.sink.offer(StreamEvent::Notice { message });
                }
                let layer = Layer { completed_bytes: 0, total_bytes: size_bytes, told: None };
                self.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, layer);
                (digest, 0, false)
            }
            ProgressEvent::LayerAdvanced { digest, bytes } => (digest, bytes, false),
            ProgressEvent::LayerFinished { digest } => (digest, 0, true),
            _ => return,
        };
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(layer) = layers.get_mut(&digest) else { return };
        layer.completed_bytes = layer.completed_bytes.saturating_add(added).min(layer.total_bytes);
        if finished {
            layer.completed_bytes = layer.total_bytes;
        } else if layer.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return;
        }
        layer.told = Some(Instant::now());
        let event = StreamEvent::Progress {
            item: digest.hex().chars().take(12).collect(),
            completed_bytes: layer.completed_bytes,
            total_bytes: Some(layer.total_bytes),
        };
        drop(layers);
        self.sink.offer(event);
    }
}
