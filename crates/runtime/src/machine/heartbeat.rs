//! Whether the guest still answers. Its kernel may hang, or vminitd be starved, while the process of the
//! machine lives: nothing ends then, and only silence tells.
//!
//! A guest that is silent for long is shown as such and otherwise left alone: it may merely be slow, and
//! its work is not ours to throw away.
//!
//! The answer holds the guest's date. One that is wrong is corrected with the next question, not at once:
//! a guest that never tells the truth must not be asked more often than others.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::messages::guest_message::Body;
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_runtime_control::Event;

use super::{Machine, Phase};
use crate::exit;

/// Seldom enough that an idle machine stays idle.
const INTERVAL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);
/// A date that is less wrong is left alone: it may be the answer's way that took so long.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// One question at a time: a guest that reads nothing cannot make the connection fill up.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    /// When there is something to do.
    deadline: Option<Instant>,
    /// The question that is not answered yet.
    request_id: Option<u64>,
    /// When it was asked.
    asked: Option<Instant>,
    /// How wrong the guest's date was.
    clock_correction_ns: i64,
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
        let clock_correction_ns = std::mem::take(&mut self.heartbeat.clock_correction_ns);
        let ping = Request::Ping(guest::Ping { clock_correction_ns });
        self.heartbeat.asked = Some(Instant::now());
        let sent = self.agent.as_mut().and_then(|agent| agent.send(ping).ok());
        // A connection that cannot be written to is found out by its reader.
        self.heartbeat.request_id = sent;
        self.heartbeat.deadline = sent.map(|_| Instant::now() + PATIENCE);
    }

    /// Whether this was the answer to a question of ours. Any answer is a sign of life.
    pub(super) fn heartbeat_answered(&mut self, request_id: u64, body: Option<&Body>) -> bool {
        if self.heartbeat.request_id != Some(request_id) {
            return false;
        }
        self.heartbeat.request_id = None;
        if let (Some(Body::Pong(pong)), Some(asked)) = (body, self.heartbeat.asked) {
            self.heartbeat.clock_correction_ns = clock_correction_ns(pong.unix_time_ns, asked.elapsed());
        }
        self.heartbeat.start();
        if self.heartbeat.unresponsive_since.take().is_some() {
            tracing::info!("the guest answers again");
            self.connections.announce(&Event::Responsiveness { unresponsive_since: None });
        }
        true
    }
}

/// What the guest's clock lacks; 0 if that cannot be told, or is little.
fn clock_correction_ns(guest_unix_time_ns: i64, round_trip: Duration) -> i64 {
    if round_trip > CLOCK_TOLERANCE {
        return 0;
    }
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return 0 };
    // The guest looked at its clock somewhere in between.
    let host = i64::try_from((now.saturating_sub(round_trip / 2)).as_nanos()).unwrap_or(i64::MAX);
    let correction = host.saturating_sub(guest_unix_time_ns);
    if u128::from(correction.unsigned_abs()) <= CLOCK_TOLERANCE.as_nanos() { 0 } else { correction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f65_only_a_date_that_is_surely_wrong_is_corrected() {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        let quick = Duration::from_millis(1);
        assert_eq!(clock_correction_ns(now, quick), 0);
        assert_eq!(clock_correction_ns(now - 500_000_000, quick), 0);
        let hour = 3600 * 1_000_000_000;
        assert!((clock_correction_ns(now - hour, quick) - hour).abs() < 1_000_000_000);
        assert!((clock_correction_ns(now + hour, quick) + hour).abs() < 1_000_000_000);
        assert_eq!(clock_correction_ns(now - hour, Duration::from_secs(5)), 0);
        // Whatever a guest says is a number.
        assert!(clock_correction_ns(i64::MIN, quick) > 0);
        assert!(clock_correction_ns(i64::MAX, quick) < 0);
    }
}
