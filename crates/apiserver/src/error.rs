//! Constructors of the interface's one error shape.

use std::error::Error;
use std::io;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_runtime_control::{ControlError, Failure, FailureCode};

/// Exit code of `run`, `exec` and `start -a` for a failure of ours, as with Docker.
pub(crate) const EXIT_OWN_FAILURE: u8 = 125;
/// Exit code when the executable cannot be executed, POSIX `env`.
pub(crate) const EXIT_NOT_RUNNABLE: u8 = 126;
/// Exit code when there is no such executable, POSIX `env`.
pub(crate) const EXIT_NOT_FOUND: u8 = 127;

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidArgument, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::NotFound, message)
}

pub(crate) fn exists(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Exists, message)
}

pub(crate) fn invalid_state(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidState, message)
}

pub(crate) fn unsupported(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Unsupported, message)
}

pub(crate) fn timed_out(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Timeout, message)
}

/// What to do about a full disk.
pub(crate) const FULL_DISK_HINT: &str =
    "The disk is full: free some space, for instance with `container image prune`.";

/// Our own failure; a full disk is named as such wherever in the chain it is.
pub(crate) fn failed(message: impl Into<String>, source: &(dyn Error + 'static)) -> ApiError {
    let error = ApiError::caused_by(ErrorCode::InternalError, message, source);
    if is_out_of_space(source) { error.with_hint(FULL_DISK_HINT) } else { error }
}

fn is_out_of_space(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let full = error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }) || error
            .downcast_ref::<bulkhead_state::StateError>()
            .is_some_and(bulkhead_state::StateError::is_out_of_space);
        if full {
            return true;
        }
        next = error.source();
    }
    false
}

/// What a helper answered, for the container with this id.
pub(crate) fn from_control(id: &str, error: ControlError) -> ApiError {
    match error {
        ControlError::Refused(failure) => from_failure(failure),
        other => failed(format!("cannot reach the runtime helper of container '{id}'"), &other),
    }
}

/// What a helper or guest refused.
pub(crate) fn from_failure(failure: Failure) -> ApiError {
    let (code, exit_code) = match failure.code {
        FailureCode::ExecutableNotFound => (ErrorCode::NotFound, EXIT_NOT_FOUND),
        FailureCode::ExecutableNotRunnable => (ErrorCode::InvalidArgument, EXIT_NOT_RUNNABLE),
        FailureCode::UserNotFound => (ErrorCode::NotFound, EXIT_OWN_FAILURE),
        FailureCode::InvalidArgument => (ErrorCode::InvalidArgument, EXIT_OWN_FAILURE),
        // The container is there; it has ended, or a process of it has.
        FailureCode::InvalidState | FailureCode::ProcessNotFound => {
            (ErrorCode::InvalidState, EXIT_OWN_FAILURE)
        }
        FailureCode::Timeout => (ErrorCode::Timeout, EXIT_OWN_FAILURE),
        FailureCode::VmFailed | FailureCode::Setup | FailureCode::DamagedFileSystem => {
            (ErrorCode::InternalError, EXIT_OWN_FAILURE)
        }
    };
    ApiError::new(code, printable(&failure.message)).with_exit_code(exit_code)
}

/// The guest words some messages: its escape sequences must not reach a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(4096)
        .flat_map(|character| {
            let escaped = character.is_control();
            let plain = (!escaped).then_some(character);
            plain.into_iter().chain(escaped.then(|| character.escape_default()).into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_wherever_it_is_in_the_chain() {
        let error = failed("cannot do it", &io::Error::from(io::ErrorKind::StorageFull));
        assert!(error.hint.unwrap().contains("disk is full"));
        assert!(failed("cannot do it", &io::Error::from(io::ErrorKind::NotFound)).hint.is_none());
    }

    #[test]
    fn f85_escape_sequences_are_shown_not_obeyed() {
        assert_eq!(printable("a\u{1b}[31mé\n"), "a\\u{1b}[31mé\\n");
    }

    #[test]
    fn f57_failures_have_the_exit_codes_of_env() {
        let failure = |code| from_failure(Failure { code, message: "x".to_owned() }).exit_code;
        assert_eq!(failure(FailureCode::ExecutableNotFound), Some(127));
        assert_eq!(failure(FailureCode::ExecutableNotRunnable), Some(126));
        assert_eq!(failure(FailureCode::VmFailed), Some(125));
    }

    #[test]
    fn f51_a_process_that_has_ended_is_no_container_that_is_missing() {
        let failure = Failure { code: FailureCode::ProcessNotFound, message: "x".to_owned() };
        assert_eq!(from_failure(failure).code, ErrorCode::InvalidState);
    }
}
