//! Exit codes: the one place that knows them.

use std::process::ExitCode;

use bulkhead_api::error::{ApiError, ErrorCode};

/// sysexits.h, `EX_USAGE`.
const USAGE: u8 = 64;
/// Our own failure where other codes belong to the process, as `env` and Docker have it.
const OWN_FAILURE: u8 = 125;
/// A shell reports death by signal n as 128 + n.
const SIGNAL_BASE: u8 = 128;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// 0
    Success,
    /// 1: refused or failed.
    Failure,
    /// 64: not understood.
    Usage,
    /// The code of a container's process, or 125 to 127 in its place.
    Process(u8),
    /// 128 + n: this command was told to end.
    Signal(u8),
}

impl ExitStatus {
    /// Where something went wrong beside the process: its code stands unless it says that all is well.
    pub(crate) fn of_failure(self) -> Self {
        match self {
            Self::Success => Self::Process(OWN_FAILURE),
            other => other,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
            ExitStatus::Usage => USAGE,
            ExitStatus::Process(code) => code,
            ExitStatus::Signal(number) => SIGNAL_BASE.saturating_add(number),
        })
    }
}

/// What a command ends with when the failure is not its process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnFailure {
    /// Always 1.
    Plain,
    /// `run`: always distinguishable from the process's own codes.
    Run,
    /// `exec` and `start -a` act on a container that must exist: a refusal to do so is 1, as of any
    /// other verb; a failure on the way is 125.
    Attach,
}

impl OwnFailure {
    /// The status for this error.
    pub(crate) fn status(self, error: &ApiError) -> ExitStatus {
        let refused = matches!(
            error.code,
            ErrorCode::NotFound | ErrorCode::InvalidState | ErrorCode::InvalidArgument | ErrorCode::Exists
        );
        match (self, error.exit_code) {
            (Self::Plain, _) => ExitStatus::Failure,
            (Self::Run | Self::Attach, Some(code)) => ExitStatus::Process(code),
            (Self::Attach, None) if refused => ExitStatus::Failure,
            (Self::Run | Self::Attach, None) => ExitStatus::Process(OWN_FAILURE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f57_codes_of_our_own_failures() {
        let error = |code, exit_code| ApiError { exit_code, ..ApiError::new(code, "x") };
        let table = [
            (OwnFailure::Plain, ErrorCode::NotFound, Some(127), ExitStatus::Failure),
            (OwnFailure::Run, ErrorCode::Exists, None, ExitStatus::Process(125)),
            (OwnFailure::Run, ErrorCode::NotFound, Some(127), ExitStatus::Process(127)),
            (OwnFailure::Attach, ErrorCode::NotFound, None, ExitStatus::Failure),
            (OwnFailure::Attach, ErrorCode::NotFound, Some(127), ExitStatus::Process(127)),
            (OwnFailure::Attach, ErrorCode::InternalError, None, ExitStatus::Process(125)),
        ];
        for (own_failure, code, exit_code, expected) in table {
            assert_eq!(own_failure.status(&error(code, exit_code)), expected, "{own_failure:?} {code:?}");
        }
    }
}
