//! What vminitd says. It runs in the guest, whose root may have replaced it: every message that it
//! could not have sent in good faith ends the machine.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::messages::guest_message::Body;
use bulkhead_guest_protocol::messages::host_message;
use bulkhead_runtime_control::{Event, ExitReason, FailureCode, Reply, Statistics};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::filling;
use super::pending::Question;
use super::process_table::ProcessState;
use super::{BOOT_TIMEOUT, Machine, Phase, START_REQUEST_ID, microseconds};
use crate::agent::Agent;
use crate::text::sanitize;
use crate::{exit, translation};

/// The connection of a dying VMM breaks before the VMM is seen to have ended.
const GRACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };

impl Machine {
    pub(super) fn agent_connected(&mut self, socket: UnixStream, instant: Instant) {
        self.timeline.agent_connected_us = microseconds(instant.duration_since(self.received));
        match Agent::new(socket, START_REQUEST_ID) {
            Ok(agent) => self.agent = Some(agent),
            Err(error) => self.kill(ExitReason::VmmLost, format!("cannot talk to vminitd: {error}")),
        }
    }

    pub(super) fn agent_message(&mut self, message: guest::GuestMessage) {
        let accepted = match (message.request_id, message.body) {
            (0, Some(Body::Hello(hello))) => self.hello(&hello),
            (0, Some(Body::ProcessExited(exited))) => self.process_exited(&exited),
            (0, Some(Body::Progress(_))) => self.progress(),
            (0, _) => false,
            // An answer that only a newer vminitd knows: who waits for it runs into a deadline.
            (request_id, None) => {
                self.heartbeat_answered(request_id, None);
                true
            }
            (START_REQUEST_ID, Some(body)) if self.phase == Phase::Booting => self.start_answered(body),
            (request_id, Some(body)) => self.answered(request_id, body),
        };
        if !accepted {
            self.kill(ExitReason::VmmLost, "the guest broke the agent protocol".to_owned());
        }
    }

    pub(super) fn agent_lost(&mut self, reason: String) {
        self.agent = None;
        if self.phase == Phase::PoweringOff || self.phase == Phase::Gone {
            return;
        }
        let mut descriptors = [PollFd::from_borrowed_fd(self.vmm.pidfd(), PollFlags::IN)];
        let ended_by_itself = matches!(poll(&mut descriptors, Some(&GRACE)), Ok(count) if count > 0);
        if !ended_by_itself {
            self.kill(ExitReason::VmmLost, reason);
        }
    }

    fn hello(&mut self, hello: &guest::Hello) -> bool {
        if !self.kernel_release.is_empty() || self.phase != Phase::Booting {
            return false;
        }
        self.kernel_release = sanitize(&hello.kernel_release);
        self.timeline.guest_boot_us = microseconds(Duration::from_nanos(hello.init_entered_ns));
        true
    }

    /// Volumes are being filled. Who has none to fill has nothing to say.
    fn progress(&mut self) -> bool {
        let is_expected = self.phase == Phase::Booting && filling::is_wanted(&self.specification);
        if is_expected {
            self.filling_goes_on();
        }
        is_expected
    }

    /// The start takes long for a reason.
    pub(super) fn filling_goes_on(&mut self) {
        let now = Instant::now();
        if self.phase == Phase::Booting && self.filling.goes_on(now) {
            self.phase_deadline = Some(now + BOOT_TIMEOUT);
            self.connections.announce(&Event::Progress);
        }
    }

    /// Notes which volumes need not be filled any more. A guest that lies here has a volume of its own that stays
    /// as it is.
    fn volumes_filled(&self, numbers: &[u32]) {
        for number in numbers {
            let mount = usize::try_from(*number).ok().and_then(|place| self.specification.mounts.get(place));
            if let Some(path) = mount.and_then(|mount| mount.fill.as_deref()) {
                filling::note(path);
            }
        }
    }

    fn start_answered(&mut self, body: Body) -> bool {
        self.filling.locks.clear();
        match body {
            Body::ProcessStarted(started) if started.number == 0 => {
                self.volumes_filled(&started.filled_mounts);
                self.phase = Phase::Running;
                self.phase_deadline = None;
                self.processes.set(0, ProcessState::Running);
                self.heartbeat.start();
                self.timeline.process_started_us = microseconds(self.received.elapsed());
                self.connections.announce(&Event::Started {
                    timeline: self.timeline,
                    kernel_release: self.kernel_release.clone(),
                    vmm_pid: self.vmm.pid().as_raw_nonzero().get().unsigned_abs(),
                });
                tracing::info!(timeline = ?self.timeline, "started");
                true
            }
            Body::Failure(failure) => {
                self.fail_start(translation::failure(&failure));
                true
            }
            _ => false,
        }
    }

    fn process_exited(&mut self, exited: &guest::ProcessExited) -> bool {
        let status = exit::of_process(exited);
        let known = self.processes.end(exited.number, status.clone());
        if known {
            if exited.number == 0 {
                self.volumes_filled(&exited.filled_mounts);
                self.exit = Some(status);
                self.phase = Phase::Draining;
                self.phase_deadline = None;
            }
            self.streams.process_ended(exited.number);
            self.stream_ended(exited.number);
        }
        known
    }

    /// Some stream of the process has delivered everything; perhaps it was the last.
    pub(super) fn stream_ended(&mut self, number: u32) {
        if !self.processes.is_draining(number) || !self.streams.are_drained(number) {
            return;
        }
        let Some(ProcessState::Draining { mut status, .. }) = self.processes.remove(number) else { return };
        if let Some(error) = self.streams.refusal(number) {
            status.message = Some(format!("cannot write the output: {error}"));
            if number == 0 {
                self.exit = Some(status.clone());
            }
        }
        self.streams.remove(number);
        self.connections.announce(&Event::ProcessExited { number, status });
        if number == 0 && self.phase == Phase::Draining {
            self.power_off();
        }
    }

    fn answered(&mut self, request_id: u64, body: Body) -> bool {
        if self.shutdown_request_id == Some(request_id) {
            // Everything is on disk; how long the guest takes to power off is of no interest.
            self.kill_vmm();
            return true;
        }
        if self.heartbeat_answered(request_id, Some(&body)) {
            return true;
        }
        let Some(waiting) = self.pending.take(request_id) else {
            self.answered_late(request_id, &body);
            return true;
        };
        let result = match (waiting.question, body) {
            (Question::StartProcess { number }, Body::ProcessStarted(started))
                if started.number == number =>
            {
                self.processes.set(number, ProcessState::Running);
                Ok(Reply::Done)
            }
            (Question::SetPaused { paused }, Body::Done(_)) => {
                self.paused = paused;
                self.connections.announce(&Event::Paused { paused });
                Ok(Reply::Done)
            }
            (Question::Order | Question::ConnectSocket { .. }, Body::Done(_)) => Ok(Reply::Done),
            (Question::Statistics, Body::Statistics(statistics)) => {
                Ok(Reply::Statistics(translate(&statistics)))
            }
            (_, Body::Failure(failure)) => {
                self.forget(&waiting);
                Err(translation::failure(&failure))
            }
            _ => {
                let message = "the guest gave an answer to another question";
                self.fail(&waiting, FailureCode::VmFailed, message);
                return false;
            }
        };
        self.answer(&waiting, result);
        true
    }

    /// Too late for whoever asked: nobody wants the process that was asked for.
    fn answered_late(&mut self, request_id: u64, body: &Body) {
        let Some(number) = self.pending.take_late_start(request_id) else { return };
        if matches!(body, Body::Failure(_)) {
            self.processes.remove(number);
            return;
        }
        let signal = guest::SignalProcess { number, signal: libc::SIGKILL.cast_unsigned() };
        if let Some(agent) = &mut self.agent
            && let Err(error) = agent.send(host_message::Request::SignalProcess(signal))
        {
            tracing::warn!("cannot end process {number}, which started too late: {error}");
        }
    }
}

fn translate(statistics: &guest::Statistics) -> Statistics {
    Statistics {
        memory_usage_bytes: statistics.memory_usage_bytes,
        memory_limit_bytes: statistics.memory_limit_bytes,
        cpu_usage_us: statistics.cpu_usage_us,
        network_received_bytes: statistics.network_received_bytes,
        network_sent_bytes: statistics.network_sent_bytes,
        block_read_bytes: statistics.block_read_bytes,
        block_written_bytes: statistics.block_written_bytes,
        process_count: statistics.process_count,
    }
}
