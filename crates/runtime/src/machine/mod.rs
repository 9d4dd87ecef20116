//! The life of one container, decided by one thread.
//!
//! ```text
//!            AgentMessage(ProcessStarted)      ProcessExited(0)         output delivered
//!  Booting ───────────────────────────▶ Running ─────────────▶ Draining ───────────────▶ PoweringOff
//!     │ Failure, 60 s, Kill                │ VmmEnded, Kill,       │ Kill: clients are        │ VmmEnded
//!     │                                    │ agent lost            │ let go of                │ 10 s: SIGKILL
//!     └──────────────▶ SIGKILL ──▶ VmmEnded ──▶ Gone ◀─────────────┴──────────────────────────┘
//! ```
//!
//! The exit status is fixed by whatever happens first: the guest's report, `Kill`, or the end of the
//! VMM. `exit.json` is written before `Stopped` is told. With `discard_disk` the power-off is a
//! SIGKILL; else vminitd syncs first, and what it does after its answer is not waited for.

mod agent_messages;
mod disks;
mod ending;
mod filling;
mod folders;
mod heartbeat;
mod launch;
mod pending;
mod process_table;
mod requests;
mod starting;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use bulkhead_paths::ContainerDirectories;
use bulkhead_runtime_control::{
    ExitReason, ExitStatus, Failure, FailureCode, RuntimeSpecification, RuntimeState, Timeline,
};
use bulkhead_vmm::VmmProcess;

use crate::agent::Agent;
use crate::console::Console;
use crate::forwards::{Forwards, PublishedSockets};
use crate::input::Input;
use crate::server::Connections;
use crate::streams::Streams;
use filling::Filling;
use heartbeat::Heartbeat;
use pending::{Pending, Question};
use process_table::{ProcessState, ProcessTable};

pub(crate) use disks::volume_device;
pub(crate) use filling::{LockError, lock as lock_volumes};
pub(crate) use folders::{FolderServer, subpath as folder_subpath, tag as folder_tag};
pub(crate) use starting::run;

/// The first request on the agent's connection, `Start`.
const START_REQUEST_ID: u64 = 1;
/// A boot takes a twentieth of a second; fifty at once on a slow machine take some more.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(60);
/// What a container gets to end by itself when the host shuts down.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Booting,
    Running,
    Draining,
    PoweringOff,
    Gone,
}

impl Phase {
    fn state(self) -> RuntimeState {
        match self {
            Self::Booting => RuntimeState::Starting,
            Self::Running => RuntimeState::Running,
            Self::Draining | Self::PoweringOff => RuntimeState::Stopping,
            Self::Gone => RuntimeState::Stopped,
        }
    }
}

/// Everything about the container.
#[derive(Debug)]
struct Machine {
    specification: RuntimeSpecification,
    directories: ContainerDirectories,
    received: Instant,
    timeline: Timeline,
    kernel_release: String,
    phase: Phase,
    /// When the phase has lasted too long.
    phase_deadline: Option<Instant>,
    connections: Connections,
    vmm: VmmProcess,
    /// Of the whole host, when the machine was started.
    out_of_memory_kills: Option<u64>,
    agent: Option<Agent>,
    console: Console,
    streams: Arc<Streams>,
    forwards: Arc<Forwards>,
    published: PublishedSockets,
    last_client: u64,
    processes: ProcessTable,
    pending: Pending,
    /// The container's processes are frozen.
    paused: bool,
    heartbeat: Heartbeat,
    filling: Filling,
    /// Why this helper ended the VMM; the first reason counts.
    cause: Option<(ExitReason, String)>,
    start_failure: Option<Failure>,
    exit: Option<ExitStatus>,
    exit_saved: bool,
    shutdown_request_id: Option<u64>,
    /// Disconnects once the disks are closed.
    disks_released: Receiver<()>,
}

impl Machine {
    /// Handles inputs until the VMM is gone.
    fn live(&mut self, inputs: &Receiver<Input>) {
        while self.phase != Phase::Gone {
            match self.next_input(inputs) {
                Some(input) => self.handle(input),
                None => self.check_deadlines(),
            }
        }
    }

    /// `None` when a deadline has passed.
    fn next_input(&self, inputs: &Receiver<Input>) -> Option<Input> {
        let deadlines = [
            self.phase_deadline,
            self.pending.next_deadline(),
            self.processes.next_deadline(),
            self.heartbeat.deadline(),
        ];
        match deadlines.into_iter().flatten().min() {
            None => inputs.recv().ok(),
            Some(deadline) => inputs.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Connected(id, socket) => self.connections.add(id, socket),
            Input::Disconnected(id) => self.connections.remove(id),
            Input::Requested(connection, frame, descriptors) => self.request(connection, *frame, descriptors),
            Input::AgentConnected(socket, instant) => self.agent_connected(socket, instant),
            Input::AgentMessage(message) => self.agent_message(*message),
            Input::AgentLost(reason) => self.agent_lost(reason),
            Input::SocketOpened(path, client) => self.socket_opened(path, client),
            Input::DetachKeysTyped(number, client) | Input::ReaderGone(number, client) => {
                self.client_leaves(number, client);
            }
            Input::StreamEnded(number) => self.stream_ended(number),
            Input::DeviceEnded(reason) => {
                self.kill(ExitReason::VmmLost, format!("a device failed: {reason}"))
            }
            Input::FillingBegins(locks) => self.filling.locks = locks,
            Input::FillingGoesOn => self.filling_goes_on(),
            // The console says why.
            Input::Panicked => self.kill_vmm(),
            Input::VmmEnded => self.phase = Phase::Gone,
            Input::Terminate => self.terminate(),
        }
    }

    fn check_deadlines(&mut self) {
        let now = Instant::now();
        self.check_heartbeat(now);
        for waiting in self.pending.take_expired(now) {
            self.fail(&waiting, FailureCode::Timeout, "the guest does not answer");
            if let Question::StartProcess { number } = waiting.question {
                self.processes.set(number, ProcessState::Abandoned);
            }
        }
        for number in self.processes.take_expired(now) {
            self.streams.abandon_unconnected(number);
            self.stream_ended(number);
        }
        if self.phase_deadline.is_some_and(|deadline| deadline <= now) {
            self.phase_deadline = None;
            match self.phase {
                Phase::Booting => {
                    self.fail_start(Failure { code: FailureCode::Timeout, message: self.late_start(now) })
                }
                Phase::Running => self.power_off(),
                Phase::Draining | Phase::PoweringOff | Phase::Gone => self.kill_vmm(),
            }
        }
    }

    fn late_start(&self, now: Instant) -> String {
        if now.saturating_duration_since(self.received) >= filling::FILL_LIMIT {
            return format!(
                "the new volumes were not filled within {} min",
                filling::FILL_LIMIT.as_secs() / 60
            );
        }
        format!("the machine did not start within {} s", BOOT_TIMEOUT.as_secs())
    }

    /// Ends the VMM for a reason of ours.
    fn kill(&mut self, reason: ExitReason, message: String) {
        tracing::info!("ending the machine: {message}");
        self.cause.get_or_insert((reason, message));
        self.kill_vmm();
    }

    fn kill_vmm(&self) {
        if let Err(error) = self.vmm.kill() {
            tracing::error!("cannot kill the machine monitor: {error}");
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A refusal.
fn refusal(code: FailureCode, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

/// One life; returns when it is over.
fn live_and_end(mut machine: Machine, inputs: &Receiver<Input>) -> Result<()> {
    machine.live(inputs);
    machine.end(inputs)
}
