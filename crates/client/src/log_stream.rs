//! Logs: stdout and stderr in frames with a header of eight bytes (`bulkhead_api::route::LOGS`).

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::{ClientError, ProtocolError};

const HEADER_LENGTH_BYTES: usize = 8;

/// Where a chunk was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Stream 1.
    Stdout,
    /// Stream 2.
    Stderr,
}

/// Part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Where it was written.
    pub source: LogSource,
    /// As written; a frame longer than what arrived at once comes as several chunks.
    pub bytes: Bytes,
}

/// A log as it arrives. Dropping it closes the connection.
#[derive(Debug)]
pub struct LogStream {
    body: Incoming,
    decoder: LogDecoder,
}

impl LogStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, decoder: LogDecoder::default() }
    }

    /// The next chunk; `None` at the end of the log.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] for a broken connection or a malformed frame.
    pub async fn next(&mut self) -> Result<Option<LogChunk>, ClientError> {
        loop {
            if let Some(chunk) = self.decoder.take_chunk()? {
                return Ok(Some(chunk));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(ProtocolError::Transfer)?.into_data() {
                        self.decoder.waiting = data;
                    }
                }
                None if self.decoder.is_between_frames() => return Ok(None),
                None => return Err(ProtocolError::Truncated.into()),
            }
        }
    }
}

/// Holds at most a header; payload passes through, so that no frame length costs memory.
#[derive(Debug, Default)]
struct LogDecoder {
    waiting: Bytes,
    header: Vec<u8>,
    payload: Option<(LogSource, usize)>,
}

impl LogDecoder {
    fn is_between_frames(&self) -> bool {
        self.header.is_empty() && self.payload.is_none()
    }

    /// Returns `None` only once `waiting` is empty.
    fn take_chunk(&mut self) -> Result<Option<LogChunk>, ProtocolError> {
        while !self.waiting.is_empty() {
            if let Some((source, left)) = self.payload.take() {
                let bytes = self.waiting.split_to(left.min(self.waiting.len()));
                if left > bytes.len() {
                    self.payload = Some((source, left - bytes.len()));
                }
                return Ok(Some(LogChunk { source, bytes }));
            }
            let count = (HEADER_LENGTH_BYTES - self.header.len()).min(self.waiting.len());
            self.header.extend_from_slice(&self.waiting[..count]);
            self.waiting.advance(count);
            if self.header.len() == HEADER_LENGTH_BYTES {
                self.payload = decode_header(&self.header)?;
                self.header.clear();
            }
        }
        Ok(None)
    }
}

/// `None` for a frame without payload.
fn decode_header(header: &[u8]) -> Result<Option<(LogSource, usize)>, ProtocolError> {
    let source = match header[0] {
        1 => LogSource::Stdout,
        2 => LogSource::Stderr,
        stream => return Err(ProtocolError::LogFrame { stream }),
    };
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    Ok((length > 0).then_some((source, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_come_out_however_they_were_cut() {
        let bytes = [frame(1, b"out"), frame(2, b""), frame(2, b"error"), frame(1, b"\x01\0\0\0")].concat();
        for size in 1..=bytes.len() {
            let mut decoder = LogDecoder::default();
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                decoder.waiting = Bytes::copy_from_slice(piece);
                while let Some(chunk) = decoder.take_chunk().unwrap() {
                    match chunk.source {
                        LogSource::Stdout => stdout.extend(&chunk.bytes),
                        LogSource::Stderr => stderr.extend(&chunk.bytes),
                    }
                }
            }
            assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"out\x01\0\0\0"[..], &b"error"[..]));
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn unknown_streams_are_refused() {
        let mut decoder = LogDecoder { waiting: Bytes::from(frame(3, b"x")), ..LogDecoder::default() };
        assert!(matches!(decoder.take_chunk(), Err(ProtocolError::LogFrame { stream: 3 })));
    }

    #[test]
    fn the_longest_frame_costs_no_memory() {
        let mut decoder = LogDecoder {
            waiting: Bytes::from_static(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x']),
            ..LogDecoder::default()
        };
        assert_eq!(decoder.take_chunk().unwrap().unwrap().bytes, "x");
        assert!(!decoder.is_between_frames());
    }
}
