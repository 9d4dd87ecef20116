//! How a container ended, and making it last.

use std::fs;
use std::io;
use std::path::Path;

use bulkhead_guest_protocol::messages::ProcessExited;
use bulkhead_runtime_control::{ExitReason, ExitStatus, Failure, FailureCode};

/// Shells and engines report death by signal n as 128 + n.
const SIGNAL_BASE: i32 = 128;
const KILLED_EXIT_CODE: i32 = 137;
/// Docker's code for "the engine failed".
const START_FAILED_EXIT_CODE: i32 = 125;
const HIGHEST_SIGNAL: u32 = 64;

/// The end of a process as vminitd reports it; numbers out of range are cut to what a kernel can say.
pub(crate) fn of_process(exited: &ProcessExited) -> ExitStatus {
    let signal = Some(exited.signal).filter(|signal| (1..=HIGHEST_SIGNAL).contains(signal));
    let exit_code = match signal {
        Some(signal) => SIGNAL_BASE + i32::try_from(signal).unwrap_or(0),
        None => i32::try_from(exited.exit_code & 0xff).unwrap_or(0),
    };
    status(exit_code, signal, exited.out_of_memory, ExitReason::ProcessExited, None)
}

/// The container never ran.
pub(crate) fn of_failed_start(failure: &Failure) -> ExitStatus {
    let exit_code = match failure.code {
        FailureCode::ExecutableNotFound => 127,
        FailureCode::ExecutableNotRunnable => 126,
        _ => START_FAILED_EXIT_CODE,
    };
    status(exit_code, None, false, ExitReason::StartFailed, Some(failure.message.clone()))
}

/// The machine went before its process did, because memory ran out in it or below it.
pub(crate) fn of_machine_out_of_memory(message: String) -> ExitStatus {
    ExitStatus { out_of_memory: true, ..of_lost_machine(ExitReason::VmmLost, message) }
}

/// The machine went before its process did.
pub(crate) fn of_lost_machine(reason: ExitReason, message: String) -> ExitStatus {
    let signal = Some(libc::SIGKILL.cast_unsigned());
    status(KILLED_EXIT_CODE, signal, false, reason, Some(message))
}

fn status(
    exit_code: i32,
    signal: Option<u32>,
    out_of_memory: bool,
    reason: ExitReason,
    message: Option<String>,
) -> ExitStatus {
    ExitStatus { exit_code, signal, out_of_memory, reason, message, finished_date: now() }
}

/// In whole seconds, as every date of the compatible JSON.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes `exit.json`. The record of a container that is removed when it stops need not survive a
/// power cut, only the apiserver: two fsyncs less.
pub(crate) fn save(status: &ExitStatus, path: &Path, durable: bool) -> io::Result<()> {
    if durable {
        return status.persist(path);
    }
    let temporary = path.with_extension("json.tmp");
    fs::write(&temporary, serde_json::to_vec(status)?)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f57_codes_and_signals() {
        for exit_code in 0..=255 {
            let exited = ProcessExited { exit_code, ..ProcessExited::default() };
            assert_eq!(of_process(&exited).exit_code, i32::try_from(exit_code).unwrap());
        }
        let killed = ProcessExited { signal: 9, ..ProcessExited::default() };
        assert_eq!((of_process(&killed).exit_code, of_process(&killed).signal), (137, Some(9)));
        let absurd = ProcessExited { exit_code: u32::MAX, signal: u32::MAX, ..ProcessExited::default() };
        assert_eq!((of_process(&absurd).exit_code, of_process(&absurd).signal), (255, None));
    }
}
