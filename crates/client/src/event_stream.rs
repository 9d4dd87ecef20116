//! Event streams: one JSON object a line.

use bulkhead_api::event::StreamEvent;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::{ClientError, ProtocolError};

/// Longest line either side accepts. The longest event lists the references of a loaded archive.
pub const MAXIMUM_LINE_LENGTH_BYTES: usize = 4 * 1024 * 1024;

/// What a long request tells while it works. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream(Lines);

impl EventStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Lines::new(body))
    }

    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ClientError::Api`] for a `Failed` event, [`ClientError::Protocol`] for a broken connection, a
    /// line beyond [`MAXIMUM_LINE_LENGTH_BYTES`] or one that is no event.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        let Some(line) = self.0.next().await? else { return Ok(None) };
        match serde_json::from_slice(&line).map_err(ProtocolError::Decode)? {
            StreamEvent::Failed(error) => Err(ClientError::Api(error)),
            event => Ok(Some(event)),
        }
    }
}

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    lines: LineBuffer,
}

impl Lines {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, lines: LineBuffer::default() }
    }

    /// The next line, without its end; `None` at the end of the body.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            if let Some(line) = self.lines.take_line()? {
                return Ok(Some(line));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(ProtocolError::Transfer)?.into_data() {
                        self.lines.extend(&data);
                    }
                }
                None if self.lines.is_empty() => return Ok(None),
                None => return Err(ProtocolError::Truncated.into()),
            }
        }
    }
}

/// Cuts a byte stream into lines of bounded length; empty lines are skipped.
#[derive(Debug, Default)]
struct LineBuffer {
    bytes: Vec<u8>,
    searched: usize,
}

impl LineBuffer {
    fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take_line(&mut self) -> Result<Option<Vec<u8>>, ProtocolError> {
        loop {
            let Some(length) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return if self.searched > MAXIMUM_LINE_LENGTH_BYTES { Err(too_long()) } else { Ok(None) };
            };
            let end = self.searched + length;
            if end > MAXIMUM_LINE_LENGTH_BYTES {
                return Err(too_long());
            }
            let rest = self.bytes.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.bytes, rest);
            line.truncate(end);
            self.searched = 0;
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line));
            }
        }
    }
}

fn too_long() -> ProtocolError {
    ProtocolError::Oversize { limit_bytes: MAXIMUM_LINE_LENGTH_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_however_they_were_cut() {
        let text = b"one\n\ntwo\nthree\n";
        for size in 1..=text.len() {
            let mut buffer = LineBuffer::default();
            let mut lines = Vec::new();
            for piece in text.chunks(size) {
                buffer.extend(piece);
                while let Some(line) = buffer.take_line().unwrap() {
                    lines.push(String::from_utf8(line).unwrap());
                }
            }
            assert_eq!(lines, ["one", "two", "three"], "pieces of {size}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut buffer = LineBuffer::default();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..8).any(|_| {
            buffer.extend(&piece);
            buffer.take_line().is_err()
        });
        assert!(refused);
    }
}
