//! How an error becomes the answer to the host.

use std::error::Error;
use std::fmt::Write;

use bulkhead_guest_protocol::messages::{Failure, failure::Code};
use rustix::io::Errno;
use thiserror::Error;

/// A step of the boot that every container needs failed.
#[derive(Clone, Copy, Debug, Error)]
#[error("cannot {step}")]
pub(crate) struct SetupError {
    pub(crate) step: &'static str,
    #[source]
    pub(crate) source: Errno,
}

/// Joins the error and its sources to the one sentence that the protocol carries.
pub(crate) fn failure(code: Code, error: &dyn Error) -> Failure {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(message, ": {cause}");
        source = cause.source();
    }
    Failure { code: code.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_step_and_cause() {
        let error = SetupError { step: "fill /dev", source: Errno::NOSPC };
        let failure = failure(Code::Setup, &error);
        assert_eq!(failure.message, "cannot fill /dev: No space left on device (os error 28)");
        assert_eq!(failure.code(), Code::Setup);
    }
}
