//! The ways to the end, and what is left to say there.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_runtime_control::{Event, ExitReason, ExitStatus, Failure, FailureCode};
use bulkhead_vmm::{VmmEnd, out_of_memory_kills};

use super::filling;
use super::process_table::ProcessState;
use super::{Machine, POWER_OFF_TIMEOUT, Phase, TERMINATION_TIMEOUT, refusal};
use crate::exit;
use crate::input::Input;

/// Linux, mm/oom_kill.c: how its panics begin.
const OUT_OF_MEMORY: &str = "Out of memory";
/// From the end of the VMM until its disks are closed: the device may be in the middle of an fsync(2).
const DISKS_RELEASED_TIMEOUT: Duration = Duration::from_secs(30);
/// For clients that take the last bytes of a machine that was lost; then they are let go of.
const LAST_BYTES_TIMEOUT: Duration = Duration::from_secs(2);

impl Machine {
    /// The container's process cannot be started.
    pub(super) fn fail_start(&mut self, failure: Failure) {
        self.exit.get_or_insert_with(|| exit::of_failed_start(&failure));
        self.kill(ExitReason::StartFailed, failure.message.clone());
        self.start_failure.get_or_insert(failure);
    }

    /// The first process has ended and its output is delivered.
    pub(super) fn power_off(&mut self) {
        self.phase = Phase::PoweringOff;
        self.phase_deadline = Some(Instant::now() + POWER_OFF_TIMEOUT);
        let request = if self.specification.discard_disk {
            None
        } else {
            self.agent.as_mut().and_then(|agent| agent.send(Request::Shutdown(guest::Shutdown {})).ok())
        };
        match request {
            Some(id) => self.shutdown_request_id = Some(id),
            None => self.kill_vmm(),
        }
        // While the guest syncs or the kernel takes the VMM apart.
        self.save_exit();
    }

    /// The host shuts down.
    pub(super) fn terminate(&mut self) {
        tracing::info!("SIGTERM: ending the container");
        if matches!(self.phase, Phase::PoweringOff | Phase::Gone) {
            return;
        }
        self.cause.get_or_insert((ExitReason::Killed, "the host shuts down".to_owned()));
        let order = guest::SignalProcess { number: 0, signal: libc::SIGTERM.cast_unsigned() };
        let agent = self.agent.as_mut().filter(|_| self.phase == Phase::Running);
        let thaw = Request::SetPaused(guest::SetPaused { paused: false });
        let sent = agent.is_some_and(|agent| {
            // Frozen processes would not hear of it.
            (!self.paused || agent.send(thaw).is_ok()) && agent.send(Request::SignalProcess(order)).is_ok()
        });
        if sent {
            self.phase_deadline = Some(Instant::now() + TERMINATION_TIMEOUT);
        } else {
            self.streams.detach_all();
            self.kill_vmm();
        }
    }

    /// The VMM is gone: delivers what is left, saves the exit status, says goodbye.
    pub(super) fn end(mut self, inputs: &Receiver<Input>) -> Result<()> {
        let vmm_end = self.vmm.wait().context("cannot wait for the machine monitor")?;
        tracing::info!(?vmm_end, "the machine has ended");
        self.settle_exit(vmm_end);
        for waiting in self.pending.take_all() {
            self.fail(&waiting, FailureCode::VmFailed, "the machine has ended");
        }
        self.published.remove();
        self.drain_streams(inputs);
        let status = self.exit.take().unwrap_or_else(|| self.unexplained(vmm_end));
        self.exit = Some(status.clone());
        if let Some(failure) = self.start_failure.take() {
            self.connections.announce(&Event::StartFailed(failure));
        } else {
            self.announce_processes(&status);
        }
        self.save_exit();
        filling::note_content(&self.specification);
        self.release_disks();
        // Whoever connects now would wait for nothing, and whoever hears that it has ended may start a
        // successor, whose socket has the same path.
        let _ = std::fs::remove_file(self.directories.control_socket());
        self.connections.announce(&Event::Stopped { status });
        if self.exit_saved { Ok(()) } else { Err(anyhow::anyhow!("the exit status was not saved")) }
    }

    /// Whoever hears that the container has stopped may start it again at once, with the same disk.
    fn release_disks(&self) {
        if self.disks_released.recv_timeout(DISKS_RELEASED_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the disks are still being written");
        }
    }

    /// Finds out why the machine ended when the guest did not say.
    fn settle_exit(&mut self, vmm_end: VmmEnd) {
        let booting = self.timeline.process_started_us == 0;
        if self.exit.is_none() {
            let panic = self.console.panic_message().map(|text| format!("guest kernel panic: {text}"));
            let status = match (self.cause.take(), panic) {
                (Some((ExitReason::VmmLost, _)) | None, Some(panic)) if panic.contains(OUT_OF_MEMORY) => {
                    exit::of_machine_out_of_memory(panic)
                }
                (Some((ExitReason::VmmLost, _)) | None, Some(panic)) => {
                    exit::of_lost_machine(ExitReason::VmmLost, panic)
                }
                (Some((reason, message)), _) => exit::of_lost_machine(reason, message),
                (None, None) => self.unexplained(vmm_end),
            };
            let start_failed = booting && status.reason != ExitReason::Killed;
            let message = status.message.clone().unwrap_or_default();
            let failure = refusal(FailureCode::VmFailed, message);
            self.exit = Some(if start_failed { exit::of_failed_start(&failure) } else { status });
            if booting {
                self.start_failure.get_or_insert(failure);
            }
        }
    }

    fn drain_streams(&mut self, inputs: &Receiver<Input>) {
        let numbers = self.processes.numbers();
        for number in &numbers {
            self.streams.process_ended(*number);
            // The devices are gone: what is not connected never will be.
            self.streams.abandon_unconnected(*number);
        }
        let deadline = Instant::now() + LAST_BYTES_TIMEOUT;
        while !numbers.iter().all(|number| self.streams.are_drained(*number)) {
            match inputs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Input::Requested(connection, frame, descriptors)) => {
                    self.request(connection, *frame, descriptors);
                }
                Ok(Input::Connected(id, socket)) => self.connections.add(id, socket),
                Ok(Input::Disconnected(id)) => self.connections.remove(id),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.streams.detach_all();
    }

    /// Processes whose end nobody has been told of.
    fn announce_processes(&mut self, container: &ExitStatus) {
        for number in self.processes.numbers() {
            let status = match self.processes.remove(number) {
                // Whoever asked was told that it failed.
                Some(ProcessState::Abandoned) => continue,
                Some(ProcessState::Draining { status, .. }) => status,
                _ if number == 0 => container.clone(),
                _ => exit::of_lost_machine(ExitReason::Killed, "the container has ended".to_owned()),
            };
            self.streams.remove(number);
            self.connections.announce(&Event::ProcessExited { number, status });
        }
    }

    fn save_exit(&mut self) {
        if self.exit_saved {
            return;
        }
        let Some(status) = &self.exit else { return };
        match exit::save(status, &self.directories.exit_status(), !self.specification.discard_disk) {
            Ok(()) => self.exit_saved = true,
            // Tried once more at the very end.
            Err(error) => tracing::error!("cannot save the exit status: {error}"),
        }
    }

    fn unexplained(&self, vmm_end: VmmEnd) -> ExitStatus {
        let how = match vmm_end {
            VmmEnd::Killed(libc::SIGKILL) if out_of_memory_kills() > self.out_of_memory_kills => {
                let message = "the host ran out of memory and killed the machine".to_owned();
                return exit::of_machine_out_of_memory(message);
            }
            VmmEnd::Exited(code) => format!("with code {code}"),
            VmmEnd::Killed(signal) => format!("by signal {signal}"),
        };
        exit::of_lost_machine(ExitReason::VmmLost, format!("the machine ended unexpectedly, {how}"))
    }
}
