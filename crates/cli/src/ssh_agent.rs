//! The user's SSH agent.

use std::os::unix::fs::FileTypeExt;

use bulkhead_api::error::{ApiError, ErrorCode};

use crate::failure::Failure;

const VARIABLE: &str = "SSH_AUTH_SOCK";

/// Where the agent listens, if the environment says so.
pub(crate) fn socket() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|path| path.starts_with('/'))
}

/// The same for a command that makes no sense without one.
pub(crate) fn required() -> Result<String, Failure> {
    let refused = |reason: String| {
        let error = ApiError::new(ErrorCode::InvalidArgument, format!("no SSH agent to forward: {reason}"));
        Failure::Refused(error.with_hint("Start one: eval $(ssh-agent)"))
    };
    let path = socket().ok_or_else(|| refused(format!("{VARIABLE} does not name a socket")))?;
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(path),
        Ok(_) => Err(refused(format!("'{path}', which {VARIABLE} names, is not a socket"))),
        Err(error) => Err(refused(format!("'{path}', which {VARIABLE} names, cannot be used: {error}"))),
    }
}
