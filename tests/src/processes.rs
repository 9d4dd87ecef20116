//! Finding the processes of one installation.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A process: its id and its command line, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Process id of its parent.
    pub parent: i32,
    /// Words of the command line, joined.
    pub command: String,
}

/// Processes whose environment or command line names `marker`.
#[must_use]
pub(crate) fn processes_of(marker: &str) -> Vec<Process> {
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
            let parent = parent_of(pid)?;
            (named && !command.is_empty()).then_some(Process { pid, parent, command })
        })
        .collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Those of `processes` that run what their command line says: a child between fork and exec still bears its
/// parent's.
#[must_use]
pub(crate) fn begun(processes: Vec<Process>) -> Vec<Process> {
    let forked =
        |one: &Process| processes.iter().any(|other| other.pid == one.parent && other.command == one.command);
    processes.iter().filter(|one| !forked(one)).cloned().collect()
}

/// How long a test waits for what must happen: long enough for a machine with much else to do, so that only what
/// never happens fails. How fast things are is the benchmark's to say.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the condition holds.
///
/// # Panics
/// It does not within [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_has_not_begun_is_not_counted() {
        let process = |pid, parent, command: &str| Process { pid, parent, command: command.to_owned() };
        let daemon = process(2, 1, "container-apiserver ");
        let helper = process(4, 2, "container-runtime-linux ");
        let forked = process(3, 2, "container-apiserver ");
        assert_eq!(begun(vec![daemon.clone(), forked, helper.clone()]), [daemon, helper]);
    }
}
