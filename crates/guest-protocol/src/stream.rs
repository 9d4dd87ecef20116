//! The eight bytes that open every stream connection.
//!
//! ```text
//! 0      4        5         8
//! +------+--------+---------+
//! |number| stream | zero    |   number: u32 little-endian, Process.number or ConnectSocket.number
//! +------+--------+---------+
//! ```

use thiserror::Error;

/// Length of an encoded [`StreamHeader`] in bytes.
pub const HEADER_LENGTH_BYTES: usize = 8;

/// Which of a process's streams a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Host to guest.
    Stdin,
    /// Guest to host.
    Stdout,
    /// Guest to host.
    Stderr,
    /// Both directions; the only stream of a process with a terminal.
    Terminal,
    /// Both directions: the answer to `ConnectSocket`.
    Forward,
    /// Both directions: somebody in the container talks to the user's SSH agent.
    Agent,
}

/// Names the process and stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// `Process.number`; of a forwarded socket `ConnectSocket.number`; 0 of the agent.
    pub process_number: u32,
    /// The stream carried.
    pub kind: StreamKind,
}

/// A header that no guest of ours would send.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("stream header names the unknown stream {stream}")]
pub struct ParseStreamHeaderError {
    stream: u8,
}

impl StreamHeader {
    /// Encodes for the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH_BYTES] {
        let [a, b, c, d] = self.process_number.to_le_bytes();
        let kind = match self.kind {
            StreamKind::Stdin => 0,
            StreamKind::Stdout => 1,
            StreamKind::Stderr => 2,
            StreamKind::Terminal => 3,
            StreamKind::Forward => 4,
            StreamKind::Agent => 5,
        };
        [a, b, c, d, kind, 0, 0, 0]
    }

    /// Decodes what the guest wrote.
    ///
    /// # Errors
    /// The stream number is unknown.
    pub fn from_bytes(bytes: [u8; HEADER_LENGTH_BYTES]) -> Result<Self, ParseStreamHeaderError> {
        let [a, b, c, d, kind, ..] = bytes;
        let kind = match kind {
            0 => StreamKind::Stdin,
            1 => StreamKind::Stdout,
            2 => StreamKind::Stderr,
            3 => StreamKind::Terminal,
            4 => StreamKind::Forward,
            5 => StreamKind::Agent,
            stream => return Err(ParseStreamHeaderError { stream }),
        };
        Ok(Self { process_number: u32::from_le_bytes([a, b, c, d]), kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        use StreamKind::{Agent, Forward, Stderr, Stdin, Stdout, Terminal};
        for kind in [Stdin, Stdout, Stderr, Terminal, Forward, Agent] {
            let header = StreamHeader { process_number: 0x0102_0304, kind };
            assert_eq!(StreamHeader::from_bytes(header.to_bytes()), Ok(header));
        }
    }

    #[test]
    fn unknown_stream_is_refused() {
        assert!(StreamHeader::from_bytes([0, 0, 0, 0, 6, 0, 0, 0]).is_err());
    }
}
