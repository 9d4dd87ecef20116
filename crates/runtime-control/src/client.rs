//! The apiserver's end of a control connection.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_descriptor_passing::asynchronous;
use bulkhead_descriptor_passing::frame::FrameError;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::{DescriptorPurpose, Event, Failure, Message, Reply, Request, RequestFrame};

/// Why a request has no good answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The helper is not there.
    #[error("cannot reach the runtime helper")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("cannot talk to the runtime helper")]
    Transfer(#[source] FrameError),
    /// It ended before the answer.
    #[error("the runtime helper ended before it answered")]
    Closed,
    /// It refused.
    #[error(transparent)]
    Refused(Failure),
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Reply, Failure>>>>>;

/// Receives events until the helper ends; then yields `None`.
pub type EventReceiver = mpsc::UnboundedReceiver<Event>;

/// A control connection. Cheap to share; requests may overlap.
#[derive(Debug)]
pub struct Connection {
    socket: Arc<UnixStream>,
    waiting: Waiting,
    sending: tokio::sync::Mutex<u64>,
    reader: tokio::task::JoinHandle<()>,
}

impl Connection {
    /// Connects to a running helper.
    ///
    /// # Errors
    /// [`ControlError::Connect`]
    pub async fn connect(path: &Path) -> Result<(Self, EventReceiver), ControlError> {
        Ok(Self::over(UnixStream::connect(path).await.map_err(ControlError::Connect)?))
    }

    /// Uses an already connected socket: one end of the helper's inherited pair.
    #[must_use]
    pub fn over(socket: UnixStream) -> (Self, EventReceiver) {
        let socket = Arc::new(socket);
        let waiting = Waiting::default();
        let (sender, events) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_messages(Arc::clone(&socket), Arc::clone(&waiting), sender));
        (Self { socket, waiting, sending: tokio::sync::Mutex::new(0), reader }, events)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn request(
        &self,
        request: Request,
        descriptors: &[(DescriptorPurpose, BorrowedFd<'_>)],
    ) -> Result<Reply, ControlError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut last_id = self.sending.lock().await;
            *last_id += 1;
            let id = *last_id;
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
            if self.reader.is_finished() {
                return Err(ControlError::Closed);
            }
            let frame = RequestFrame {
                id,
                request,
                descriptors: descriptors.iter().map(|(purpose, _)| *purpose).collect(),
            };
            let passed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|(_, descriptor)| *descriptor).collect();
            asynchronous::send(&self.socket, &frame, &passed).await.map_err(ControlError::Transfer)?;
        }
        match receiver.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(failure)) => Err(ControlError::Refused(failure)),
            Err(_) => Err(ControlError::Closed),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Ends when the helper does; dropping the waiting senders then fails every open request.
async fn read_messages(socket: Arc<UnixStream>, waiting: Waiting, events: mpsc::UnboundedSender<Event>) {
    while let Ok(Some(frame)) = asynchronous::receive::<Message>(&socket).await {
        match frame.message {
            Message::Reply { id, result } => {
                let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(sender) = sender {
                    // The requester may have given up; its answer is then of no use to anyone.
                    drop(sender.send(result));
                }
            }
            Message::Event(event) => {
                if events.send(event).is_err() {
                    break;
                }
            }
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
