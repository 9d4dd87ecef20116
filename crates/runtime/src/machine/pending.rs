//! Requests that wait for vminitd's answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::input::ConnectionId;

/// Of a guest that works; one that swaps may take seconds to find an executable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    StartProcess { number: u32 },
    Order,
    Statistics,
    SetPaused { paused: bool },
    ConnectSocket { number: u32 },
}

/// Who waits for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Absent when this helper itself wants to know.
    pub(super) asker: Option<Asker>,
    pub(super) question: Question,
}

/// A request of an apiserver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) connection: ConnectionId,
    /// The id that the apiserver gave its request.
    pub(super) id: u64,
}

/// By the number that the request has towards the guest.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: BTreeMap<u64, (Waiting, Instant)>,
    /// Processes that were asked for in vain, by the number of the request: whoever wanted them has
    /// been told that they failed, so one that starts after all has to go.
    late_starts: BTreeMap<u64, u32>,
}

impl Pending {
    pub(super) fn add(&mut self, request_id: u64, waiting: Waiting) {
        self.entries.insert(request_id, (waiting, Instant::now() + ANSWER_TIMEOUT));
    }

    pub(super) fn take(&mut self, request_id: u64) -> Option<Waiting> {
        self.entries.remove(&request_id).map(|(waiting, _)| waiting)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.values().map(|(_, deadline)| *deadline).min()
    }

    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Waiting> {
        let expired: Vec<_> = self.entries.extract_if(.., |_, (_, deadline)| *deadline <= now).collect();
        for (request_id, (waiting, _)) in &expired {
            if let Question::StartProcess { number } = &waiting.question {
                self.late_starts.insert(*request_id, *number);
            }
        }
        expired.into_iter().map(|(_, (waiting, _))| waiting).collect()
    }

    /// The process that a request asked for whose answer comes too late.
    pub(super) fn take_late_start(&mut self, request_id: u64) -> Option<u32> {
        self.late_starts.remove(&request_id)
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.entries).into_values().map(|(waiting, _)| waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_asked_for_in_vain_is_remembered_until_its_answer() {
        let mut pending = Pending::default();
        pending.add(7, Waiting { asker: None, question: Question::StartProcess { number: 3 } });
        pending.add(8, Waiting { asker: None, question: Question::Order });
        assert_eq!(pending.take_late_start(7), None);

        let expired = pending.take_expired(Instant::now() + ANSWER_TIMEOUT);

        assert_eq!(expired.len(), 2);
        assert!(pending.take(7).is_none());
        assert_eq!(pending.take_late_start(8), None);
        assert_eq!(pending.take_late_start(7), Some(3));
        assert_eq!(pending.take_late_start(7), None);
    }
}
