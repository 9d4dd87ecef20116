//! The one error shape of the interface.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Closed set of error kinds; unknown ones of a newer server become `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// The request makes no sense.
    InvalidArgument,
    /// Our own failure.
    InternalError,
    /// Already there.
    Exists,
    /// Not there.
    NotFound,
    /// The caller gave up.
    Cancelled,
    /// Not in this state.
    InvalidState,
    /// Nothing to work on.
    Empty,
    /// A deadline passed.
    Timeout,
    /// Not on this host or not yet.
    Unsupported,
    /// A signal came.
    Interrupted,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The HTTP status that carries it.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::Empty => 400,
            Self::NotFound => 404,
            Self::Exists | Self::InvalidState => 409,
            Self::Timeout => 504,
            Self::Unsupported => 501,
            Self::InternalError | Self::Cancelled | Self::Interrupted | Self::Unknown => 500,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InvalidArgument => "invalidArgument",
            Self::InternalError => "internalError",
            Self::Exists => "exists",
            Self::NotFound => "notFound",
            Self::Cancelled => "cancelled",
            Self::InvalidState => "invalidState",
            Self::Empty => "empty",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        })
    }
}

/// Body of every response outside 2xx, and of `Failed` events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{code}: \"{message}\"{}", cause.as_ref().map(|cause| format!(" (cause: \"{cause}\")")).unwrap_or_default())]
pub struct ApiError {
    /// Kind.
    pub code: ErrorCode,
    /// What failed, on which object.
    pub message: String,
    /// Why, the chain of sources joined with ": ".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Exit code that `run`, `exec` and `start -a` end with for this error: 125, 126 or 127.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}

impl ApiError {
    /// An error without cause or hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None, hint: None, exit_code: None }
    }

    /// An error whose cause is the chain of `source`.
    #[must_use]
    pub fn caused_by(code: ErrorCode, message: impl Into<String>, source: &dyn std::error::Error) -> Self {
        let mut cause = source.to_string();
        let mut next = source.source();
        while let Some(error) = next {
            cause.push_str(": ");
            cause.push_str(&error.to_string());
            next = error.source();
        }
        Self { cause: Some(cause), ..Self::new(code, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code of an attached command.
    #[must_use]
    pub fn with_exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = Some(exit_code);
        self
    }
}
