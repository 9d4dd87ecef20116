//! The user's SSH agent.

use bulkhead_api::error::{ApiError, ErrorCode};

use crate::failure::Failure;

const VARIABLE: &str = "SSH_AUTH_SOCK";

/// Where the agent listens, if the environment says so.
pub(crate) fn socket() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|path| path.starts_with('/'))
}

/// The same for a command that makes no sense without one.
pub(crate) fn required() -> Result<String, Failure> {
    socket().ok_or_else(|| {
        let error = ApiError::new(
            ErrorCode::InvalidArgument,
            format!("no SSH agent to forward: {VARIABLE} does not name a socket"),
        );
        Failure::Refused(error.with_hint("Start one: eval $(ssh-agent)"))
    })
}
