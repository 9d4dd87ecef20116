//! Finding the processes of one installation.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A process: its id and its command line, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Words of the command line, joined.
    pub command: String,
}

/// Processes whose environment or command line names `marker`.
#[must_use]
pub fn processes_of(marker: &str) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let named = command.contains(marker) || String::from_utf8_lossy(&environment).contains(marker);
            (named && !command.is_empty()).then_some(Process { pid, command })
        })
        .collect()
}

/// Waits until the condition holds.
///
/// # Panics
/// It does not within the limit.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
