//! A Tokio byte stream with descriptors beside it.
//!
//! An HTTP implementation that knows nothing of descriptors reads and writes it; both ends reach
//! the descriptors through a [`DescriptorQueue`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::{MAXIMUM_DESCRIPTORS, message};

/// Descriptors received and not yet taken, shared by a connection and its requests' handlers.
#[derive(Clone, Debug, Default)]
pub struct DescriptorQueue(Arc<Mutex<VecDeque<OwnedFd>>>);

impl DescriptorQueue {
    /// Takes every descriptor received so far, in order.
    #[must_use]
    pub fn take(&self) -> Vec<OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    fn push(&self, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() + descriptors.len() > MAXIMUM_DESCRIPTORS {
            return Err(io::Error::other("peer sent more descriptors than any request takes"));
        }
        queue.extend(descriptors);
        Ok(())
    }
}

/// A Unix socket that passes descriptors.
#[derive(Debug)]
pub struct DescriptorStream {
    socket: UnixStream,
    received: DescriptorQueue,
    outgoing: Vec<OwnedFd>,
}

impl DescriptorStream {
    /// Wraps a connected socket; `outgoing` leaves with the first byte written.
    #[must_use]
    pub fn new(socket: UnixStream, outgoing: Vec<OwnedFd>) -> Self {
        Self { socket, received: DescriptorQueue::default(), outgoing }
    }

    /// Where received descriptors wait.
    #[must_use]
    pub fn received(&self) -> DescriptorQueue {
        self.received.clone()
    }

    /// Credentials of the peer at the time it connected.
    ///
    /// # Errors
    /// getsockopt(2) failed.
    pub fn peer_credentials(&self) -> io::Result<tokio::net::unix::UCred> {
        self.socket.peer_cred()
    }
}

impl AsyncRead for DescriptorStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.socket.poll_read_ready(context))?;
            let mut descriptors = Vec::new();
            let unfilled = buffer.initialize_unfilled();
            let outcome = this.socket.try_io(Interest::READABLE, || {
                message::receive(this.socket.as_fd(), unfilled, &mut descriptors).map_err(io::Error::from)
            });
            match outcome {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(this.received.push(descriptors));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for DescriptorStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            ready!(this.socket.poll_write_ready(context))?;
            let outcome = this.socket.try_io(Interest::WRITABLE, || {
                let borrowed: Vec<BorrowedFd<'_>> = this.outgoing.iter().map(AsFd::as_fd).collect();
                message::send(this.socket.as_fd(), bytes, &borrowed).map_err(io::Error::from)
            });
            match outcome {
                Ok(count) => {
                    this.outgoing.clear();
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn descriptors_arrive_with_the_bytes() {
        let (left, right) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut sender = DescriptorStream::new(left, vec![file.into()]);
        let mut receiver = DescriptorStream::new(right, Vec::new());
        sender.write_all(b"GET").await.unwrap();
        let mut bytes = [0; 3];
        receiver.read_exact(&mut bytes).await.unwrap();
        assert_eq!(receiver.received().take().len(), 1);
        assert!(receiver.received().take().is_empty());
    }
}
