//! Why a command did not succeed, and how that is told.

use std::io;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_client::ClientError;
use bulkhead_paths::PathsError;

use crate::exit_status::{ExitStatus, OwnFailure};
use crate::output::{self, escape, message};
use crate::values::filter::NothingToCompare;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The words make no sense; with the command whose help explains them.
    Usage {
        /// One sentence.
        message: String,
        /// `container run`
        command: String,
    },
    /// Refused or failed, here or in the daemon.
    Refused(ApiError),
    /// Failed, and already told.
    Reported,
    /// Some objects could not be shown as was asked for.
    Partly {
        /// What is to be printed of the others.
        shown: String,
        /// Why not, of each that could not.
        errors: Vec<ApiError>,
    },
    /// stdout could not be written.
    Output(io::Error),
    /// A signal came.
    Signal(u8),
}

impl Failure {
    /// Nothing is wrong if all that is wrong is that something does not exist.
    pub(crate) fn unless_absent(self) -> Result<(), Self> {
        match self {
            Self::Refused(error) if error.code == ErrorCode::NotFound => Ok(()),
            other => Err(other),
        }
    }

    /// An error without cause.
    pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused(ApiError::new(code, message))
    }

    /// An error with the chain of its source.
    pub(crate) fn caused_by(
        code: ErrorCode,
        message: impl Into<String>,
        source: &dyn std::error::Error,
    ) -> Self {
        Self::Refused(ApiError::caused_by(code, message, source))
    }

    /// A flag that is understood but not served.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::refused(ErrorCode::Unsupported, format!("{what} is not available in this version"))
    }

    /// Tells people on stderr and turns into the exit status.
    pub(crate) fn report(&self, own_failure: OwnFailure) -> ExitStatus {
        match self {
            Self::Usage { message, command } => {
                message::line(&format!("Error: {}", escape::text(message)));
                message::line(&format!("hint: see '{} --help'", escape::text(command)));
                ExitStatus::Usage
            }
            Self::Refused(error) => {
                tell(error);
                own_failure.status(error)
            }
            Self::Reported => ExitStatus::Failure,
            Self::Partly { shown, errors } => {
                if let Err(failure) = output::print(shown) {
                    failure.report(own_failure);
                }
                errors.iter().for_each(tell);
                ExitStatus::Failure
            }
            // The reader left, as `head` does: nothing to complain about.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Success,
            Self::Output(error) => {
                let error = ApiError::caused_by(ErrorCode::InternalError, "cannot write to stdout", error);
                tell(&error);
                own_failure.status(&error)
            }
            Self::Signal(number) => ExitStatus::Signal(*number),
        }
    }
}

/// `Error: <code>: "<text>" (cause: "…")`, then the hint on a line of its own.
pub(crate) fn tell(error: &ApiError) {
    message::line(&format!("Error: {}", escape::text(&error.to_string())));
    if let Some(hint) = &error.hint {
        message::line(&format!("hint: {}", escape::text(hint)));
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Refused(match error {
            ClientError::Api(error) => error,
            ClientError::Unreachable { .. } => {
                ApiError::caused_by(ErrorCode::Interrupted, "container services are not running", &error)
                    .with_hint("start them with `container system start`")
            }
            other => match std::error::Error::source(&other) {
                Some(source) => ApiError::caused_by(
                    ErrorCode::Interrupted,
                    "the conversation with container services failed",
                    source,
                ),
                None => ApiError::new(ErrorCode::InternalError, other.to_string()),
            },
        })
    }
}

impl From<NothingToCompare> for Failure {
    fn from(error: NothingToCompare) -> Self {
        Self::refused(ErrorCode::NotFound, error.to_string())
    }
}

impl From<PathsError> for Failure {
    fn from(error: PathsError) -> Self {
        let message = error.to_string();
        Self::Refused(match std::error::Error::source(&error) {
            Some(source) => ApiError::caused_by(ErrorCode::InvalidState, message, source),
            None => ApiError::new(ErrorCode::InvalidState, message),
        })
    }
}
