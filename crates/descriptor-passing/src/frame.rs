//! JSON messages with descriptors on a blocking socket.
//!
//! A frame is a u32 little-endian length and that many bytes of JSON; descriptors travel with its
//! first byte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::message;

/// Longest frame either side accepts, in bytes.
pub const MAXIMUM_FRAME_LENGTH_BYTES: usize = 4 * 1024 * 1024;

/// Why a frame could not be sent or received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message could not be turned into JSON.
    #[error("message cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// The bytes are no message of the expected type.
    #[error("frame is not a valid message")]
    Decode(#[source] serde_json::Error),
    /// The message does not fit a frame.
    #[error("message of {length_bytes} bytes exceeds the frame limit of 4 MiB")]
    Oversize {
        /// Its length.
        length_bytes: usize,
    },
    /// The socket failed or ended inside a frame.
    #[error("control socket failed")]
    Transfer(#[source] io::Error),
}

/// A received message and the descriptors that came with it.
#[derive(Debug)]
pub struct Frame<M> {
    /// The decoded message.
    pub message: M,
    /// In the order in which they were sent.
    pub descriptors: Vec<OwnedFd>,
}

pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Encode)?;
    let length_bytes = bytes.len() - 4;
    if length_bytes > MAXIMUM_FRAME_LENGTH_BYTES {
        return Err(FrameError::Oversize { length_bytes });
    }
    let prefix = u32::try_from(length_bytes).map_err(|_| FrameError::Oversize { length_bytes })?;
    bytes[..4].copy_from_slice(&prefix.to_le_bytes());
    Ok(bytes)
}

pub(crate) fn decode_length(prefix: [u8; 4]) -> Result<usize, FrameError> {
    let length_bytes = u32::from_le_bytes(prefix) as usize;
    if length_bytes > MAXIMUM_FRAME_LENGTH_BYTES {
        return Err(FrameError::Oversize { length_bytes });
    }
    Ok(length_bytes)
}

pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, FrameError> {
    serde_json::from_slice(bytes).map_err(FrameError::Decode)
}

/// Sends one message.
///
/// # Errors
/// See [`FrameError`].
pub fn send(
    socket: &impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let bytes = encode(message)?;
    let mut sent = 0;
    while sent < bytes.len() {
        let with_first_byte = if sent == 0 { descriptors } else { &[] };
        match message::send(socket.as_fd(), &bytes[sent..], with_first_byte) {
            Ok(count) => sent += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(FrameError::Transfer(error.into())),
        }
    }
    Ok(())
}

/// Receives one message; `None` at a clean end of the connection.
///
/// # Errors
/// See [`FrameError`].
pub fn receive<M: DeserializeOwned>(socket: &impl AsFd) -> Result<Option<Frame<M>>, FrameError> {
    let mut descriptors = Vec::new();
    let mut prefix = [0; 4];
    if !fill(socket, &mut prefix, &mut descriptors)? {
        return Ok(None);
    }
    let mut body = vec![0; decode_length(prefix)?];
    if !fill(socket, &mut body, &mut descriptors)? && !body.is_empty() {
        return Err(FrameError::Transfer(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Some(Frame { message: decode(&body)?, descriptors }))
}

/// Fills `buffer`; false when the connection ended before its first byte.
fn fill(socket: &impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<bool, FrameError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match message::receive(socket.as_fd(), &mut buffer[filled..], descriptors) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(FrameError::Transfer(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(FrameError::Transfer(error.into())),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_message_carries_its_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut inner_left, inner_right) = UnixStream::pair().unwrap();
        send(&left, &"hello", &[inner_right.as_fd()]).unwrap();
        drop((left, inner_right));
        let frame: Frame<String> = receive(&right).unwrap().unwrap();
        assert_eq!(frame.message, "hello");
        let mut passed = UnixStream::from(frame.descriptors.into_iter().next().unwrap());
        inner_left.write_all(b"x").unwrap();
        let mut byte = [0];
        passed.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert!(receive::<String>(&right).unwrap().is_none());
    }

    #[test]
    fn hostile_length_is_refused() {
        let (mut left, right) = UnixStream::pair().unwrap();
        left.write_all(&[0xff; 4]).unwrap();
        assert!(matches!(receive::<String>(&right), Err(FrameError::Oversize { .. })));
    }
}
