//! The events of one request on their way to its client.

use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use tokio::sync::mpsc;

/// Room for events that the client has not read yet. Progress beyond it is dropped, it is about to be
/// outdated anyway; all other events wait.
const CAPACITY: usize = 64;

/// Where a request's events go.
#[derive(Clone, Debug)]
pub(crate) struct EventSink(mpsc::Sender<StreamEvent>);

/// A sink and its other end.
pub(crate) fn channel() -> (EventSink, mpsc::Receiver<StreamEvent>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (EventSink(sender), receiver)
}

impl EventSink {
    /// Sends an event; false when the client is gone.
    pub(crate) async fn send(&self, event: StreamEvent) -> bool {
        self.0.send(event).await.is_ok()
    }

    /// Sends an event that may be dropped.
    pub(crate) fn offer(&self, event: StreamEvent) {
        // Full or closed: either way nobody misses it.
        drop(self.0.try_send(event));
    }

    pub(crate) async fn notice(&self, message: String) {
        self.send(StreamEvent::Notice { message }).await;
    }

    /// Ends the stream with an error; 125 unless it brings an exit code of its own.
    pub(crate) async fn fail(&self, error: ApiError) {
        tracing::info!("request failed: {error}");
        self.send(StreamEvent::Failed(error)).await;
    }

    /// Whether the client is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ready when the client is gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}
