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
    let mut message = String::new();
    let code = tell(code, error, &mut message);
    Failure { code: code.into(), message }
}

/// As [`failure`], into any text, without allocating. Returns the code that fits better: whatever else went wrong, a
/// damaged file system explains it.
pub(crate) fn tell(mut code: Code, error: &dyn Error, text: &mut dyn Write) -> Code {
    // A text without room left is no failure: the beginning says the most.
    let _ = write!(text, "{error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        // EFSCORRUPTED and EFSBADCRC, as the kernel's file systems call them.
        if matches!(cause.downcast_ref::<Errno>(), Some(&(Errno::UCLEAN | Errno::BADMSG))) {
            code = Code::DamagedFileSystem;
        }
        source = cause.source();
    }
    code
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

    #[test]
    fn f23_a_damaged_file_system_is_told_from_other_causes() {
        for source in [Errno::UCLEAN, Errno::BADMSG] {
            let failure = failure(Code::Setup, &SetupError { step: "mount layer 1", source });
            assert_eq!(failure.code(), Code::DamagedFileSystem);
        }
    }
}
