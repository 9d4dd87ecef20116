//! Length-prefixed frames on the control connection: u32 little-endian length, then a message.

use std::io::{self, Read, Write};

use prost::Message;
use thiserror::Error;

/// Longest frame either side accepts, in bytes. An image config with a 1 MiB environment fits.
pub const MAXIMUM_FRAME_LENGTH_BYTES: usize = 4 * 1024 * 1024;

/// Why a frame could not be sent or received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message does not fit a frame.
    #[error("message of {length_bytes} bytes exceeds the frame limit of 4 MiB")]
    Oversize {
        /// Encoded length.
        length_bytes: usize,
    },
    /// The connection failed or ended inside a frame.
    #[error("control connection failed")]
    Transfer(#[source] io::Error),
    /// The bytes are no message of the expected type.
    #[error("frame is not a valid message")]
    Decode(#[source] prost::DecodeError),
}

/// Encodes a message with its length prefix.
///
/// # Errors
/// [`FrameError::Oversize`]
pub fn encode(message: &impl Message) -> Result<Vec<u8>, FrameError> {
    let length_bytes = message.encoded_len();
    let prefix = u32::try_from(length_bytes).map_err(|_| FrameError::Oversize { length_bytes })?;
    if length_bytes > MAXIMUM_FRAME_LENGTH_BYTES {
        return Err(FrameError::Oversize { length_bytes });
    }
    let mut frame = Vec::with_capacity(length_bytes + 4);
    frame.extend_from_slice(&prefix.to_le_bytes());
    message.encode_raw(&mut frame);
    Ok(frame)
}

/// Writes one message with a single write.
///
/// # Errors
/// [`FrameError::Oversize`], [`FrameError::Transfer`]
pub fn write(output: &mut impl Write, message: &impl Message) -> Result<(), FrameError> {
    output.write_all(&encode(message)?).map_err(FrameError::Transfer)
}

/// Reads one message; `None` at a clean end of the connection.
///
/// # Errors
/// [`FrameError::Oversize`] before anything is allocated for it, [`FrameError::Transfer`],
/// [`FrameError::Decode`]
pub fn read<M: Message + Default>(input: &mut impl Read) -> Result<Option<M>, FrameError> {
    let mut prefix = [0; 4];
    let mut filled = 0;
    while filled < prefix.len() {
        match input.read(&mut prefix[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(FrameError::Transfer(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Transfer(error)),
        }
    }
    let length_bytes = u32::from_le_bytes(prefix) as usize;
    if length_bytes > MAXIMUM_FRAME_LENGTH_BYTES {
        return Err(FrameError::Oversize { length_bytes });
    }
    let mut body = vec![0; length_bytes];
    input.read_exact(&mut body).map_err(FrameError::Transfer)?;
    M::decode(body.as_slice()).map(Some).map_err(FrameError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Hello;

    #[test]
    fn a_message_survives_and_the_end_is_clean() {
        let hello = Hello { generation: 1, kernel_release: "7.3".into(), init_entered_ns: 5 };
        let mut bytes = Vec::new();
        write(&mut bytes, &hello).unwrap();
        let mut input = bytes.as_slice();
        assert_eq!(read::<Hello>(&mut input).unwrap(), Some(hello));
        assert_eq!(read::<Hello>(&mut input).unwrap(), None);
    }

    #[test]
    fn hostile_lengths_are_refused_before_allocation() {
        let result = read::<Hello>(&mut [0xff, 0xff, 0xff, 0xff].as_slice());
        assert!(matches!(result, Err(FrameError::Oversize { .. })));
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let result = read::<Hello>(&mut [9, 0, 0, 0, 1].as_slice());
        assert!(matches!(result, Err(FrameError::Transfer(_))));
    }
}
