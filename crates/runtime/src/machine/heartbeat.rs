//! Whether the guest still answers. Its kernel may hang, or vminitd be starved, while the process of the
//! machine lives: nothing ends then, and only silence tells.
//!
//! A guest that is silent for long is shown as such and otherwise left alone: it may merely be slow, and
//! its work is not ours to throw away.

use std::time::{Duration, Instant};

use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_runtime_control::Event;

use super::{Machine, Phase};
use crate::exit;

/// Seldom enough that an idle machine stays idle.
const INTERVAL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// One question at a time: a guest that reads nothing cannot make the connection fill up.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    /// When there is something to do.
    deadline: Option<Instant>,
    /// The question that is not answered yet.
    request_id: Option<u64>,
    unresponsive_since: Option<String>,
}

impl Heartbeat {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Date of the first question that got no answer in time.
    pub(super) fn unresponsive_since(&self) -> Option<&str> {
        self.unresponsive_since.as_deref()
    }

    /// The container runs from now on.
    pub(super) fn start(&mut self) {
        self.deadline = Some(Instant::now() + INTERVAL);
    }
}

impl Machine {
    /// Asks, or notes that there was no answer.
    pub(super) fn check_heartbeat(&mut self, now: Instant) {
        if self.heartbeat.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.heartbeat.deadline = None;
        if self.phase != Phase::Running {
            return;
        }
        if self.heartbeat.request_id.is_some() {
            let since = exit::now();
            tracing::warn!("the guest does not answer");
            self.heartbeat.unresponsive_since = Some(since.clone());
            self.connections.announce(&Event::Responsiveness { unresponsive_since: Some(since) });
            return;
        }
        let sent = self.agent.as_mut().and_then(|agent| agent.send(Request::Ping(guest::Ping {})).ok());
        // A connection that cannot be written to is found out by its reader.
        self.heartbeat.request_id = sent;
        self.heartbeat.deadline = sent.map(|_| Instant::now() + PATIENCE);
    }

    /// Whether this was the answer to a question of ours. Any answer is a sign of life.
    pub(super) fn heartbeat_answered(&mut self, request_id: u64) -> bool {
        if self.heartbeat.request_id != Some(request_id) {
            return false;
        }
        self.heartbeat.request_id = None;
        self.heartbeat.start();
        if self.heartbeat.unresponsive_since.take().is_some() {
            tracing::info!("the guest answers again");
            self.connections.announce(&Event::Responsiveness { unresponsive_since: None });
        }
        true
    }
}
