//! What can go wrong between a command and the apiserver.

use std::io;
use std::path::PathBuf;

use bulkhead_api::error::ApiError;
use thiserror::Error;

/// Why a request has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody serves the socket; nothing was sent.
    #[error("cannot connect to '{}'", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The apiserver ended before it answered a request that changes nothing, or before it had read one
    /// that would: repeating it is safe.
    #[error("the apiserver ended before it answered")]
    Abandoned(#[source] ProtocolError),
    /// The apiserver refused or failed.
    #[error("the apiserver reported an error")]
    Api(#[source] ApiError),
    /// The connection broke or carried nonsense.
    #[error("the conversation with the apiserver failed")]
    Protocol(#[source] ProtocolError),
}

impl From<ProtocolError> for ClientError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// What was wrong with a conversation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A descriptor could not be duplicated for sending.
    #[error("cannot duplicate a descriptor")]
    Duplicate(#[source] io::Error),
    /// The request could not be written as JSON.
    #[error("request cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// The request line or headers are not valid HTTP.
    #[error("request is not valid HTTP")]
    Request(#[source] http::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Transfer(#[source] hyper::Error),
    /// The body is not of the expected type.
    #[error("answer is not of the expected type")]
    Decode(#[source] serde_json::Error),
    /// The body is longer than any answer may be.
    #[error("answer exceeds {limit_bytes} bytes")]
    Oversize {
        /// The limit.
        limit_bytes: usize,
    },
    /// Not an error of the interface.
    #[error("answer has the unexpected status {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// The stream ended without its last event or inside a frame.
    #[error("the connection ended before the answer was complete")]
    Truncated,
    /// The frame names no known stream.
    #[error("log frame names the unknown stream {stream}")]
    LogFrame {
        /// First byte of the header.
        stream: u8,
    },
}
