//! The bytes that open every stream connection.
//!
//! ```text
//! 0      4        5         8        24
//! +------+--------+---------+--------+
//! |number| stream | zero    | secret |   number: u32 little-endian, see StreamHeader
//! +------+--------+---------+--------+
//! ```
//!
//! Any process of the guest can dial the host over vsock. The secret, which only PID 1 was told, keeps
//! one that is not root there from taking the place of another process's streams.

use thiserror::Error;

/// Length of an encoded [`StreamHeader`] in bytes.
pub const HEADER_LENGTH_BYTES: usize = 8 + SECRET_LENGTH_BYTES;
/// Length of a [`StreamSecret`] in bytes.
pub const SECRET_LENGTH_BYTES: usize = 16;

/// What `Start.stream_secret` tells vminitd, and every stream repeats.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamSecret([u8; SECRET_LENGTH_BYTES]);

impl StreamSecret {
    /// From random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; SECRET_LENGTH_BYTES]) -> Self {
        Self(bytes)
    }

    /// For `Start.stream_secret`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SECRET_LENGTH_BYTES] {
        &self.0
    }

    /// Compares in constant time, since whoever guesses may measure.
    fn matches(&self, bytes: &[u8; SECRET_LENGTH_BYTES]) -> bool {
        self.0.iter().zip(bytes).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
    }
}

impl std::fmt::Debug for StreamSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StreamSecret")
    }
}

impl TryFrom<&[u8]> for StreamSecret {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

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
    /// Both directions: somebody in the container talks to a socket of the host.
    HostSocket,
}

/// Names the process and stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// `Process.number`; of a forwarded socket `ConnectSocket.number`; of a socket of the host its index in
    /// `Start.host_sockets`.
    pub process_number: u32,
    /// The stream carried.
    pub kind: StreamKind,
}

/// A header that no guest of ours would send.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseStreamHeaderError {
    /// Not sent by vminitd.
    #[error("stream header does not know the secret")]
    Secret,
    /// A stream number that this generation does not have.
    #[error("stream header names the unknown stream {0}")]
    Stream(u8),
}

impl StreamHeader {
    /// Encodes for the wire.
    #[must_use]
    pub fn to_bytes(self, secret: &StreamSecret) -> [u8; HEADER_LENGTH_BYTES] {
        let [a, b, c, d] = self.process_number.to_le_bytes();
        let kind = match self.kind {
            StreamKind::Stdin => 0,
            StreamKind::Stdout => 1,
            StreamKind::Stderr => 2,
            StreamKind::Terminal => 3,
            StreamKind::Forward => 4,
            StreamKind::HostSocket => 5,
        };
        let mut bytes = [0; HEADER_LENGTH_BYTES];
        bytes[..5].copy_from_slice(&[a, b, c, d, kind]);
        bytes[HEADER_LENGTH_BYTES - SECRET_LENGTH_BYTES..].copy_from_slice(&secret.0);
        bytes
    }

    /// Decodes what the guest wrote.
    ///
    /// # Errors
    /// The secret is wrong, or the stream number is unknown.
    pub fn from_bytes(
        bytes: [u8; HEADER_LENGTH_BYTES],
        secret: &StreamSecret,
    ) -> Result<Self, ParseStreamHeaderError> {
        let [a, b, c, d, kind, _, _, _, presented @ ..] = bytes;
        if !secret.matches(&presented) {
            return Err(ParseStreamHeaderError::Secret);
        }
        let kind = match kind {
            0 => StreamKind::Stdin,
            1 => StreamKind::Stdout,
            2 => StreamKind::Stderr,
            3 => StreamKind::Terminal,
            4 => StreamKind::Forward,
            5 => StreamKind::HostSocket,
            stream => return Err(ParseStreamHeaderError::Stream(stream)),
        };
        Ok(Self { process_number: u32::from_le_bytes([a, b, c, d]), kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: StreamSecret = StreamSecret::new(*b"0123456789abcdef");

    #[test]
    fn every_kind_survives_the_wire() {
        use StreamKind::{Forward, HostSocket, Stderr, Stdin, Stdout, Terminal};
        for kind in [Stdin, Stdout, Stderr, Terminal, Forward, HostSocket] {
            let header = StreamHeader { process_number: 0x0102_0304, kind };
            assert_eq!(StreamHeader::from_bytes(header.to_bytes(&SECRET), &SECRET), Ok(header));
        }
    }

    #[test]
    fn unknown_stream_is_refused() {
        let mut bytes = StreamHeader { process_number: 0, kind: StreamKind::HostSocket }.to_bytes(&SECRET);
        bytes[4] = 6;
        assert_eq!(StreamHeader::from_bytes(bytes, &SECRET), Err(ParseStreamHeaderError::Stream(6)));
    }

    #[test]
    fn a_wrong_secret_is_refused() {
        let bytes = StreamHeader { process_number: 0, kind: StreamKind::Stdout }.to_bytes(&SECRET);
        for position in 0..SECRET_LENGTH_BYTES {
            let mut other = *SECRET.as_bytes();
            other[position] ^= 1;
            let result = StreamHeader::from_bytes(bytes, &StreamSecret::new(other));
            assert_eq!(result, Err(ParseStreamHeaderError::Secret));
        }
    }
}
