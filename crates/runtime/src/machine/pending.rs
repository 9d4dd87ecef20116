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
        self.entries
            .extract_if(.., |_, (_, deadline)| *deadline <= now)
            .map(|(_, (waiting, _))| waiting)
            .collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.entries).into_values().map(|(waiting, _)| waiting).collect()
    }
}
