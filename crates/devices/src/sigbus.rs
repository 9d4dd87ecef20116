//! The answer to a monitor that truncates the guest's memory under us

use std::io;

/// Exit code of a helper that touched guest memory which its monitor had truncated away.
pub const SIGBUS_EXIT_CODE: i32 = 87;

/// Why [`install_sigbus_guard`] failed.
#[derive(Debug, thiserror::Error)]
pub enum SigbusGuardError {
    /// The kernel refused the signal handler.
    #[error("cannot install the SIGBUS handler")]
    Install(#[source] io::Error),
}

extern "C" fn exit_at_once(_signal: libc::c_int) {
    // SAFETY: `_exit` is async-signal-safe and does not return.
    unsafe { libc::_exit(SIGBUS_EXIT_CODE) }
}

/// Ends this process with [`SIGBUS_EXIT_CODE`] when it touches guest memory that no longer exists.
///
/// User-Mode Linux backs its RAM with a file that cannot be sealed against shrinking, so a compromised monitor can
/// make any access of ours fault. A helper process serves one virtual machine only: ending it harms nobody else,
/// while unwinding from an arbitrary load or store cannot be done soundly.
///
/// # Errors
/// [`SigbusGuardError::Install`] if `sigaction` fails.
pub fn install_sigbus_guard() -> Result<(), SigbusGuardError> {
    // SAFETY: an all-zero `sigaction` is a valid value (no flags, empty mask, default action).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = exit_at_once as *const () as libc::sighandler_t;
    // SAFETY: `action` is initialised and outlives the call; the handler calls only `_exit`.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(SigbusGuardError::Install(io::Error::last_os_error()))
    }
}
