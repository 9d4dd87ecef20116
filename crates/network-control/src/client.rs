//! The apiserver's end of the control socket.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_descriptor_passing::asynchronous;
use bulkhead_descriptor_passing::frame::FrameError;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

use crate::{Failure, Reply, ReplyFrame, Request, RequestFrame};

/// Why a request has no good answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// container-network is not there.
    #[error("cannot reach container-network")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("cannot talk to container-network")]
    Transfer(#[source] FrameError),
    /// It ended before the answer.
    #[error("container-network ended before it answered")]
    Closed,
    /// It refused.
    #[error(transparent)]
    Refused(Failure),
}

type Answer = (Result<Reply, Failure>, Vec<OwnedFd>);
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// A connection; requests may overlap.
#[derive(Debug)]
pub struct Client {
    socket: Arc<UnixStream>,
    waiting: Waiting,
    sending: tokio::sync::Mutex<u64>,
    reader: tokio::task::JoinHandle<()>,
    /// Its sender goes with the reader.
    closed: watch::Receiver<()>,
}

impl Client {
    /// Connects to the control socket.
    ///
    /// # Errors
    /// [`ClientError::Connect`]
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Ok(Self::over(UnixStream::connect(path).await.map_err(ClientError::Connect)?))
    }

    /// Uses a connected socket.
    #[must_use]
    pub fn over(socket: UnixStream) -> Self {
        let socket = Arc::new(socket);
        let waiting = Waiting::default();
        let (open, closed) = watch::channel(());
        let reading = read_replies(Arc::clone(&socket), Arc::clone(&waiting));
        let reader = tokio::spawn(async move {
            reading.await;
            drop(open);
        });
        Self { socket, waiting, sending: tokio::sync::Mutex::new(0), reader, closed }
    }

    /// Whether container-network has gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits until container-network has gone.
    pub async fn closed(&self) {
        // The sender says nothing; that it is dropped is what counts.
        drop(self.closed.clone().changed().await);
    }

    /// Sends a request and waits for its reply and the descriptors with it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn request(&self, request: Request) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut last_id = self.sending.lock().await;
            *last_id += 1;
            let id = *last_id;
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
            if self.reader.is_finished() {
                return Err(ClientError::Closed);
            }
            asynchronous::send(&self.socket, &RequestFrame { id, request }, &[])
                .await
                .map_err(ClientError::Transfer)?;
        }
        match receiver.await {
            Ok((Ok(reply), descriptors)) => Ok((reply, descriptors)),
            Ok((Err(failure), _)) => Err(ClientError::Refused(failure)),
            Err(_) => Err(ClientError::Closed),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_replies(socket: Arc<UnixStream>, waiting: Waiting) {
    while let Ok(Some(frame)) = asynchronous::receive::<ReplyFrame>(&socket).await {
        let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&frame.message.id);
        if let Some(sender) = sender {
            // The requester may have given up; the descriptors are then closed here.
            drop(sender.send((frame.message.result, frame.descriptors)));
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
