//! The frames of [`crate::frame`] on a Tokio socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::frame::{Frame, FrameError, decode, decode_length, encode};
use crate::message;

/// Sends one message. Cancelling the future may leave half a frame behind: close the socket then.
///
/// # Errors
/// See [`FrameError`].
pub async fn send(
    socket: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let bytes = encode(message)?;
    let mut sent = 0;
    while sent < bytes.len() {
        let with_first_byte = if sent == 0 { descriptors } else { &[] };
        let count = socket
            .async_io(Interest::WRITABLE, || {
                message::send(socket.as_fd(), &bytes[sent..], with_first_byte).map_err(io::Error::from)
            })
            .await
            .map_err(FrameError::Transfer)?;
        sent += count;
    }
    Ok(())
}

/// Receives one message; `None` at a clean end of the connection. Not cancellation safe.
///
/// # Errors
/// See [`FrameError`].
pub async fn receive<M: DeserializeOwned>(socket: &UnixStream) -> Result<Option<Frame<M>>, FrameError> {
    let mut descriptors = Vec::new();
    let mut prefix = [0; 4];
    if !fill(socket, &mut prefix, &mut descriptors).await? {
        return Ok(None);
    }
    let mut body = vec![0; decode_length(prefix)?];
    if !fill(socket, &mut body, &mut descriptors).await? && !body.is_empty() {
        return Err(FrameError::Transfer(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Some(Frame { message: decode(&body)?, descriptors }))
}

async fn fill(
    socket: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<bool, FrameError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let count = socket
            .async_io(Interest::READABLE, || {
                message::receive(socket.as_fd(), &mut buffer[filled..], descriptors).map_err(io::Error::from)
            })
            .await
            .map_err(FrameError::Transfer)?;
        match count {
            0 if filled == 0 => return Ok(false),
            0 => return Err(FrameError::Transfer(io::ErrorKind::UnexpectedEof.into())),
            count => filled += count,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_messages_and_descriptors_arrive_whole() {
        let (left, right) = UnixStream::pair().unwrap();
        let text = "x".repeat(1 << 20);
        let (_kept, passed) = UnixStream::pair().unwrap();
        let passed_descriptors = [passed.as_fd()];
        let (sent, received) =
            tokio::join!(send(&left, &text, &passed_descriptors), receive::<String>(&right));
        sent.unwrap();
        let frame = received.unwrap().unwrap();
        assert_eq!(frame.message.len(), 1 << 20);
        assert_eq!(frame.descriptors.len(), 1);
    }
}
