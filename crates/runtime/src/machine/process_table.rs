//! The container's processes as the helper knows them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bulkhead_runtime_control::ExitStatus;

/// vminitd connects the streams of a process before it starts it; this is for one that did not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a process is.
#[derive(Debug)]
pub(super) enum ProcessState {
    /// Asked for.
    Starting,
    /// Asked for in vain: the guest was too slow to answer, and whoever asked was told so.
    Abandoned,
    Running,
    /// Ended; its output is still being delivered.
    Draining {
        status: ExitStatus,
        /// When to give up on outputs that were never connected.
        give_up: Option<Instant>,
    },
}

/// By number.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    entries: BTreeMap<u32, ProcessState>,
}

impl ProcessTable {
    pub(super) fn contains(&self, number: u32) -> bool {
        self.entries.contains_key(&number)
    }

    pub(super) fn is_running(&self, number: u32) -> bool {
        matches!(self.entries.get(&number), Some(ProcessState::Running))
    }

    pub(super) fn set(&mut self, number: u32, state: ProcessState) {
        self.entries.insert(number, state);
    }

    /// False when it was not running: the guest must not report that.
    pub(super) fn end(&mut self, number: u32, status: ExitStatus) -> bool {
        match self.entries.get(&number) {
            Some(ProcessState::Running) => {
                let give_up = Some(Instant::now() + CONNECT_TIMEOUT);
                self.entries.insert(number, ProcessState::Draining { status, give_up });
                true
            }
            Some(ProcessState::Abandoned) => {
                self.entries.remove(&number);
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<ProcessState> {
        self.entries.remove(&number)
    }

    pub(super) fn is_draining(&self, number: u32) -> bool {
        matches!(self.entries.get(&number), Some(ProcessState::Draining { .. }))
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries
            .values()
            .filter_map(|state| match state {
                ProcessState::Draining { give_up, .. } => *give_up,
                _ => None,
            })
            .min()
    }

    /// Processes whose unconnected outputs are to be given up; each is named once.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<u32> {
        let mut expired = Vec::new();
        for (number, state) in &mut self.entries {
            if let ProcessState::Draining { give_up, .. } = state
                && give_up.is_some_and(|instant| instant <= now)
            {
                *give_up = None;
                expired.push(*number);
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_or_was_given_up_may_end() {
        let status =
            || crate::exit::of_lost_machine(bulkhead_runtime_control::ExitReason::VmmLost, String::new());
        let mut processes = ProcessTable::default();
        processes.set(1, ProcessState::Starting);
        processes.set(2, ProcessState::Abandoned);
        processes.set(3, ProcessState::Running);

        assert!(!processes.end(1, status()));
        assert!(processes.end(2, status()));
        assert!(processes.end(3, status()));
        assert!(!processes.end(4, status()));

        assert!(!processes.contains(2));
        assert!(processes.is_draining(3));
    }
}
