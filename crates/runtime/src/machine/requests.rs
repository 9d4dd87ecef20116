//! What apiservers ask for.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::messages::host_message;
use bulkhead_runtime_control::{
    DetachCause, Event, ExitReason, Failure, FailureCode, GENERATION, ProcessSpecification, Reply, Request,
    RequestFrame, RuntimeStatus,
};

use super::pending::{Asker, Question, Waiting};
use super::process_table::ProcessState;
use super::{Machine, Phase, refusal};
use crate::input::ConnectionId;
use crate::streams::{Client, ClientDescriptors, Shape};
use crate::translation;

/// `None` when the answer comes later.
type Answer = Option<Result<Reply, Failure>>;

impl Machine {
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        frame: RequestFrame,
        descriptors: Vec<OwnedFd>,
    ) {
        let RequestFrame { id, request, descriptors: purposes } = frame;
        let (clients, _) = ClientDescriptors::sort(&purposes, descriptors);
        let answer = match request {
            Request::Start(_) => refused(FailureCode::InvalidState, "the container was already started"),
            Request::Subscribe => {
                self.connections.subscribe(connection);
                Some(Ok(Reply::Status(self.status())))
            }
            Request::Status => Some(Ok(Reply::Status(self.status()))),
            Request::StartProcess { number, process } => {
                self.start_process(connection, id, number, &process, clients)
            }
            Request::Signal { number, signal } => {
                let order = guest::SignalProcess { number, signal };
                self.order(connection, id, number, host_message::Request::SignalProcess(order))
            }
            Request::Resize { number, rows, columns } => {
                let order = guest::ResizeTerminal { number, rows: rows.into(), columns: columns.into() };
                self.order(connection, id, number, host_message::Request::ResizeTerminal(order))
            }
            Request::Detach { number, client } => {
                match client {
                    Some(client) => drop(self.streams.detach(number, client)),
                    None => self.streams.detach_any(number),
                }
                Some(Ok(Reply::Done))
            }
            Request::Attach { number, client, detach_keys } => {
                self.attach(number, Client { number: client, descriptors: clients, detach_keys })
            }
            Request::Statistics => {
                let request = host_message::Request::ReadStatistics(guest::ReadStatistics {});
                self.ask(
                    Waiting { asker: Some(Asker { connection, id }), question: Question::Statistics },
                    request,
                )
            }
            Request::SetPaused { paused } => self.set_paused(connection, id, paused),
            Request::Rename { container_id } => {
                self.specification.container_id = container_id;
                Some(Ok(Reply::Done))
            }
            Request::Kill => {
                // Nobody is to wait for a client either.
                self.streams.detach_all();
                self.kill(ExitReason::Killed, "the container was killed".to_owned());
                Some(Ok(Reply::Done))
            }
        };
        if let Some(result) = answer {
            self.connections.reply(connection, id, result);
        }
    }

    fn status(&self) -> RuntimeStatus {
        RuntimeStatus {
            generation: GENERATION,
            container_id: self.specification.container_id.clone(),
            state: self.phase.state(),
            helper_pid: std::process::id(),
            vmm_pid: Some(self.vmm.pid().as_raw_nonzero().get().unsigned_abs()),
            exit_status: self.exit.clone(),
            processes: self.processes.numbers().into_iter().filter(|number| *number != 0).collect(),
            last_client: self.last_client,
            timeline: self.timeline,
            paused: self.paused,
            unresponsive_since: self.heartbeat.unresponsive_since().map(str::to_owned),
        }
    }

    fn start_process(
        &mut self,
        connection: ConnectionId,
        id: u64,
        number: u32,
        process: &ProcessSpecification,
        clients: ClientDescriptors,
    ) -> Answer {
        if self.phase != Phase::Running {
            return refused(FailureCode::InvalidState, "the container is not running");
        }
        if number == 0 || self.processes.contains(number) {
            return refused(FailureCode::InvalidArgument, format!("process number {number} is in use"));
        }
        if self.paused && process.built_in.is_none() {
            let why = format!("container '{}' is paused", self.specification.container_id);
            return refused(FailureCode::InvalidState, why);
        }
        let shape = Shape { terminal: process.terminal, stdin: process.stdin };
        let client = Client { number: 0, descriptors: clients, detach_keys: process.detach_keys.clone() };
        if let Err(error) = self.streams.expect(number, shape, client, None) {
            return refused(FailureCode::Setup, format!("cannot prepare the streams: {error}"));
        }
        self.processes.set(number, ProcessState::Starting);
        let process = Some(translation::process(number, process));
        let request = host_message::Request::StartProcess(guest::StartProcess { process });
        self.ask(
            Waiting { asker: Some(Asker { connection, id }), question: Question::StartProcess { number } },
            request,
        )
    }

    fn order(
        &mut self,
        connection: ConnectionId,
        id: u64,
        number: u32,
        request: host_message::Request,
    ) -> Answer {
        if !self.processes.is_running(number) {
            return refused(FailureCode::ProcessNotFound, format!("process {number} is not running"));
        }
        self.ask(Waiting { asker: Some(Asker { connection, id }), question: Question::Order }, request)
    }

    fn set_paused(&mut self, connection: ConnectionId, id: u64, paused: bool) -> Answer {
        if self.paused == paused {
            let container = &self.specification.container_id;
            let how = if paused { "already" } else { "not" };
            return refused(FailureCode::InvalidState, format!("container '{container}' is {how} paused"));
        }
        let request = host_message::Request::SetPaused(guest::SetPaused { paused });
        let asker = Some(Asker { connection, id });
        self.ask(Waiting { asker, question: Question::SetPaused { paused } }, request)
    }

    fn attach(&mut self, number: u32, client: Client) -> Answer {
        if !self.processes.is_running(number) {
            return refused(FailureCode::ProcessNotFound, format!("process {number} is not running"));
        }
        if client.number <= self.last_client {
            return refused(FailureCode::InvalidArgument, "the number of the client was used before");
        }
        self.last_client = client.number;
        if let Some(former) = self.streams.attach(number, client) {
            let cause = DetachCause::Replaced;
            self.connections.announce(&Event::Detached { number, client: former, cause });
        }
        Some(Ok(Reply::Done))
    }

    /// By its own doing; the process goes on.
    pub(super) fn client_leaves(&mut self, number: u32, client: u64) {
        if self.streams.detach(number, client) {
            let cause = DetachCause::Keys;
            self.connections.announce(&Event::Detached { number, client, cause });
        }
    }

    /// Passes a question on to vminitd.
    fn ask(&mut self, waiting: Waiting, request: host_message::Request) -> Answer {
        let Some(agent) = self.agent.as_mut().filter(|_| self.phase == Phase::Running) else {
            self.forget(&waiting);
            return refused(FailureCode::InvalidState, "the container is not running");
        };
        match agent.send(request) {
            Ok(request_id) => {
                self.pending.add(request_id, waiting);
                None
            }
            Err(error) => {
                self.forget(&waiting);
                refused(FailureCode::VmFailed, format!("cannot ask the guest: {error}"))
            }
        }
    }

    /// A client of a published socket wants to talk to the container.
    pub(super) fn socket_opened(&mut self, path: String, client: UnixStream) {
        // Sent away by closing its connection.
        let Some(number) = self.forwards.expect(client) else { return };
        let request = guest::ConnectSocket { number, path: path.into_bytes() };
        let waiting = Waiting { asker: None, question: Question::ConnectSocket { number } };
        // A refusal has nobody to go to.
        let _ = self.ask(waiting, host_message::Request::ConnectSocket(request));
    }

    /// Undoes what was prepared for a request that failed.
    pub(super) fn forget(&mut self, waiting: &Waiting) {
        match waiting.question {
            Question::StartProcess { number } => {
                self.processes.remove(number);
                self.streams.remove(number);
            }
            Question::ConnectSocket { number } => self.forwards.forget(number),
            Question::Order | Question::Statistics | Question::SetPaused { .. } => {}
        }
    }

    /// Answers a request that has waited for nothing.
    pub(super) fn fail(&mut self, waiting: &Waiting, code: FailureCode, message: &str) {
        self.forget(waiting);
        self.answer(waiting, Err(refusal(code, message)));
    }

    /// Tells whoever asked.
    pub(super) fn answer(&mut self, waiting: &Waiting, result: Result<Reply, Failure>) {
        match (waiting.asker, result) {
            (Some(Asker { connection, id }), result) => self.connections.reply(connection, id, result),
            (None, Err(failure)) => tracing::info!("{:?}: {failure}", waiting.question),
            (None, Ok(_)) => {}
        }
    }
}

fn refused(code: FailureCode, message: impl Into<String>) -> Answer {
    Some(Err(refusal(code, message)))
}
