//! Event streams: one JSON object a line.

use std::convert::Infallible;
use std::future::Future;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use futures_util::stream;
use tokio::sync::mpsc;

use super::problem::Problem;
use crate::error::{EXIT_OWN_FAILURE, failed};
use crate::events::{self, EventSink};

/// Runs `work` in a task of its own and answers with its events. A failure before the first event is
/// a plain error response. The task outlives the connection; it learns from its sink that nobody
/// listens any more.
pub(super) async fn respond<W, F>(work: W) -> Response
where
    W: FnOnce(EventSink) -> F,
    F: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sink, mut receiver) = events::channel();
    let future = work(sink.clone());
    tokio::spawn(async move {
        if let Err(mut error) = future.await {
            error.exit_code.get_or_insert(EXIT_OWN_FAILURE);
            sink.fail(error).await;
        }
    });
    match receiver.recv().await {
        Some(StreamEvent::Failed(error)) => Problem(error).into_response(),
        first => ([("content-type", "application/x-ndjson")], body(first, receiver)).into_response(),
    }
}

/// Brings work to its end whether the client stays or not: a handler is dropped with its connection.
pub(super) async fn to_the_end<T: Send + 'static>(
    what: &'static str,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.map_err(|error| failed(what, &error))?
}

fn body(first: Option<StreamEvent>, receiver: mpsc::Receiver<StreamEvent>) -> Body {
    Body::from_stream(stream::unfold((first, receiver), |(first, mut receiver)| async move {
        let event = match first {
            Some(event) => event,
            None => receiver.recv().await?,
        };
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), (None, receiver)))
    }))
}
