//! The task that alone changes a container's state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::{ContainerConfiguration, MachineStatus};
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::{BuiltIn, Event, EventReceiver, ExitReason, ExitStatus};
use bulkhead_state::{Change, ExitRecord, StateRecord};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::delete;
use super::launch::{self, Launched, Order};
use super::maintenance::{self, Maintenance};
use super::running::{Run, lost_exit};
use super::status::{Phase, Status};
use crate::date;
use crate::error::{EXIT_OWN_FAILURE, from_failure, invalid_state, printable, timed_out};
use crate::machine::Machines;
use crate::service::Service;

/// A VM boots within a tenth of a second; fifty at once on a small host take some seconds.
const START_LIMIT: Duration = Duration::from_secs(90);

/// What requests want.
#[derive(Debug)]
pub(crate) enum Command {
    Start { order: Order, reply: StartReply },
    Stopping,
    Delete { force: bool, reply: oneshot::Sender<Result<(), ApiError>> },
    Maintain { work: BuiltIn, order: Order, reply: StartReply },
    EndMaintenance { reply: oneshot::Sender<()> },
}

pub(super) type StartReply = oneshot::Sender<Result<Arc<Run>, ApiError>>;

/// A run and what the actor needs for it.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) run: Arc<Run>,
    pub(crate) events: EventReceiver,
    pub(crate) end: watch::Sender<Option<ExitRecord>>,
    /// Until the process was executed.
    pub(crate) starting: Option<Starting>,
}

/// A start under way.
#[derive(Debug)]
pub(crate) struct Starting {
    replies: Vec<StartReply>,
    failure: Option<ApiError>,
    deadline: Instant,
}

impl Starting {
    pub(crate) fn new() -> Self {
        Self { replies: Vec::new(), failure: None, deadline: Instant::now() + START_LIMIT }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Actor {
    service: Arc<Service>,
    configuration: Arc<ContainerConfiguration>,
    record: StateRecord,
    active: Option<Active>,
    commands: mpsc::UnboundedReceiver<Command>,
    status: watch::Sender<Status>,
    deletions: Vec<oneshot::Sender<Result<(), ApiError>>>,
    maintenance: Option<Maintenance>,
    /// Commands that wait for its end.
    waiting: VecDeque<Command>,
}

enum Step {
    Command(Command),
    Event(Option<Event>),
    Maintained,
    Overdue,
}

/// Whether the actor goes on.
#[derive(PartialEq, Eq)]
enum Life {
    Goes,
    Ends,
}

impl Actor {
    pub(super) fn new(
        service: Arc<Service>,
        configuration: Arc<ContainerConfiguration>,
        record: StateRecord,
        active: Option<Active>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> (Self, watch::Receiver<Status>) {
        let phase = match &active {
            None => Phase::Stopped,
            Some(Active { starting: Some(_), .. }) => Phase::Starting,
            Some(_) => Phase::Running,
        };
        let run = active.as_ref().map(|active| Arc::clone(&active.run));
        let (status, receiver) = watch::channel(Status { phase, run, record: record.clone() });
        let actor = Self {
            service,
            configuration,
            record,
            active,
            commands,
            status,
            deletions: Vec::new(),
            maintenance: None,
            waiting: VecDeque::new(),
        };
        (actor, receiver)
    }

    pub(super) async fn run(mut self) {
        loop {
            let deadline =
                self.active.as_ref().and_then(|active| active.starting.as_ref()).map(|start| start.deadline);
            let step = tokio::select! {
                command = next_command(&mut self.waiting, &mut self.commands, self.maintenance.is_some()) => {
                    match command {
                        Some(command) => Step::Command(command),
                        None => return,
                    }
                },
                () = maintenance::ended(self.maintenance.as_mut()) => Step::Maintained,
                event = next_event(self.active.as_mut()) => Step::Event(event),
                () = reached(deadline) => Step::Overdue,
            };
            let life = match step {
                Step::Command(command) if self.maintenance.is_some() => self.defer(command),
                Step::Maintained => self.maintained(),
                Step::Command(Command::Start { order, reply }) => self.start(order, reply).await,
                Step::Command(Command::Stopping) => {
                    if self.active.as_ref().is_some_and(|active| active.starting.is_none()) {
                        self.publish(Phase::Stopping);
                    }
                    Life::Goes
                }
                Step::Command(Command::Delete { force, reply }) => self.delete(force, reply),
                Step::Command(Command::Maintain { work, order, reply }) => {
                    self.maintain(work, order, reply).await
                }
                Step::Command(Command::EndMaintenance { reply }) => {
                    let _ = reply.send(());
                    Life::Goes
                }
                Step::Event(event) => self.event(event).await,
                Step::Overdue => self.overdue(),
            };
            if life == Life::Ends {
                return;
            }
        }
    }

    async fn start(&mut self, order: Order, reply: StartReply) -> Life {
        if let Some(active) = &mut self.active {
            let attached = !order.descriptors.is_empty();
            match &mut active.starting {
                _ if attached => {
                    let id = &self.configuration.id;
                    let error = invalid_state(format!("container '{id}' is already running"));
                    drop(reply.send(Err(error)));
                }
                Some(starting) => starting.replies.push(reply),
                None => drop(reply.send(Ok(Arc::clone(&active.run)))),
            }
            return Life::Goes;
        }
        self.publish(Phase::Starting);
        match launch::launch(&self.service, &self.configuration, order).await {
            Ok(Launched { active, record }) => {
                let mut active = active;
                let mut starting = Starting::new();
                starting.replies.push(reply);
                active.starting = Some(starting);
                self.active = Some(active);
                self.record.run = Some(record);
                self.record.exit = None;
                self.record.started_date = None;
                self.publish(Phase::Starting);
                Life::Goes
            }
            Err(error) => {
                let life = if self.configuration.auto_remove { self.remove() } else { Life::Goes };
                if life == Life::Goes {
                    self.publish(Phase::Stopped);
                }
                drop(reply.send(Err(error)));
                life
            }
        }
    }

    /// Boots a machine for the container's files.
    async fn maintain(&mut self, work: BuiltIn, order: Order, reply: StartReply) -> Life {
        if self.active.is_some() {
            let error = invalid_state(format!("container '{}' has just been started", self.configuration.id))
                .with_hint("Try again.");
            drop(reply.send(Err(error)));
            return Life::Goes;
        }
        match maintenance::launch(&self.service, &self.configuration, work, order).await {
            Ok(active) => self.maintenance = Some(Maintenance::new(active, reply)),
            Err(error) => drop(reply.send(Err(error))),
        }
        Life::Goes
    }

    fn defer(&mut self, command: Command) -> Life {
        // There is nothing to be shown as stopping.
        if matches!(command, Command::Stopping) {
            return Life::Goes;
        }
        let ends = matches!(command, Command::Delete { force: true, .. } | Command::EndMaintenance { .. });
        if let Some(maintenance) = self.maintenance.as_ref().filter(|_| ends) {
            maintenance.abort();
        }
        self.waiting.push_back(command);
        Life::Goes
    }

    fn maintained(&mut self) -> Life {
        if let Some(maintenance) = self.maintenance.take() {
            maintenance::release(&self.service, &self.configuration.id);
            maintenance.finish();
        }
        Life::Goes
    }

    fn delete(&mut self, force: bool, reply: oneshot::Sender<Result<(), ApiError>>) -> Life {
        let Some(active) = &self.active else {
            self.deletions.push(reply);
            return self.remove();
        };
        if !force {
            let error = invalid_state(format!("container '{}' is running", self.configuration.id))
                .with_hint("Stop it first, or delete it with --force.");
            drop(reply.send(Err(error)));
            return Life::Goes;
        }
        self.deletions.push(reply);
        if self.deletions.len() == 1 {
            let run = Arc::clone(&active.run);
            tokio::spawn(async move { run.end(false).await });
            if active.starting.is_none() {
                self.publish(Phase::Stopping);
            }
        }
        Life::Goes
    }

    async fn event(&mut self, event: Option<Event>) -> Life {
        match event {
            Some(Event::Started { timeline, kernel_release, vmm_pid }) => {
                let machines = &self.service.machines;
                let resources = &self.configuration.resources;
                let machine = MachineStatus {
                    vmm: machines.name().to_owned(),
                    cpus: machines.cpus(resources.cpus.saturating_add(resources.cpu_overhead)),
                    memory_in_bytes: Machines::memory_bytes(resources.memory_in_bytes),
                    kernel_release: printable(&kernel_release),
                    pid: vmm_pid,
                    kernel_boot_us: timeline.guest_boot_us,
                    start_us: timeline.process_started_us,
                };
                if let Some(run) = &mut self.record.run {
                    run.machine = Some(machine);
                }
                self.record.started_date = Some(date::now());
                self.publish(Phase::Running);
                self.save();
                if let Some(active) = &mut self.active
                    && let Some(starting) = active.starting.take()
                {
                    for reply in starting.replies {
                        drop(reply.send(Ok(Arc::clone(&active.run))));
                    }
                }
                Life::Goes
            }
            Some(Event::StartFailed(failure)) => {
                if let Some(starting) = self.active.as_mut().and_then(|active| active.starting.as_mut()) {
                    starting.failure.get_or_insert(from_failure(failure));
                }
                Life::Goes
            }
            Some(Event::ProcessExited { number: 0, .. }) => {
                tracing::debug!(id = self.configuration.id, "first process ended");
                self.publish(Phase::Stopping);
                Life::Goes
            }
            Some(Event::ProcessExited { number, status }) => {
                if let Some(active) = &self.active {
                    active.run.process_ended(number, Some(status));
                }
                Life::Goes
            }
            Some(Event::Paused { paused }) => {
                if let Some(active) = &self.active {
                    active.run.set_paused(paused);
                }
                Life::Goes
            }
            Some(Event::Responsiveness { unresponsive_since }) => {
                if let Some(run) = &mut self.record.run {
                    run.unresponsive_since = unresponsive_since.as_deref().map(printable);
                }
                let phase = self.status.borrow().phase;
                self.publish(phase);
                Life::Goes
            }
            Some(Event::Stopped { status }) => {
                tracing::debug!(id = self.configuration.id, "machine ended");
                self.finish(exit_record(status))
            }
            None => {
                let id = &self.configuration.id;
                tracing::warn!(id, "the runtime helper ended without a word");
                if let Some(active) = &self.active {
                    active.run.reap_helper().await;
                }
                let path = self.service.directories.container(id).exit_status();
                let exit = match ExitStatus::load(&path) {
                    Ok(Some(status)) => exit_record(status),
                    Ok(None) => lost_exit("runtime helper lost"),
                    Err(error) => {
                        tracing::warn!(id, "cannot read '{}': {error}", path.display());
                        lost_exit("runtime helper lost")
                    }
                };
                self.finish(exit)
            }
        }
    }

    fn overdue(&mut self) -> Life {
        let id = &self.configuration.id;
        if let Some(active) = &mut self.active
            && let Some(starting) = &mut active.starting
        {
            starting.deadline += START_LIMIT;
            starting.failure.get_or_insert(timed_out(format!(
                "container '{id}' did not start within {} s",
                START_LIMIT.as_secs()
            )));
            let run = Arc::clone(&active.run);
            tokio::spawn(async move { run.end(false).await });
        }
        Life::Goes
    }

    /// The VM is gone: releases everything and tells those who wait.
    fn finish(&mut self, mut exit: ExitRecord) -> Life {
        let Some(active) = self.active.take() else { return Life::Goes };
        let id = self.configuration.id.clone();
        launch::release(&self.service, &id);
        active.run.forget_processes();
        let failure = active.starting.map(|starting| {
            let error = starting.failure.unwrap_or_else(|| {
                let reason = exit.reason.as_deref().unwrap_or("its machine ended");
                ApiError::new(
                    bulkhead_api::error::ErrorCode::InternalError,
                    format!("container '{id}' did not start: {reason}"),
                )
            });
            exit.exit_code = error.exit_code.unwrap_or(EXIT_OWN_FAILURE).into();
            (starting.replies, error)
        });
        self.record.run = None;
        self.record.exit = Some(exit.clone());
        let remove = self.configuration.auto_remove || !self.deletions.is_empty();
        let life = if remove { self.remove() } else { Life::Goes };
        if life == Life::Goes {
            self.save();
            self.publish(Phase::Stopped);
        }
        active.end.send_replace(Some(exit));
        if let Some((replies, error)) = failure {
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
        life
    }

    /// Frees the name and removes every trace; the caller hears of it when that is durable.
    fn remove(&mut self) -> Life {
        let id = &self.configuration.id;
        let replies = std::mem::take(&mut self.deletions);
        if let Err(error) = delete::discard_files(&self.service.directories, id) {
            tracing::error!(id, "cannot remove container: {error}");
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
            return Life::Goes;
        }
        let committed = self.service.records.submit(Change::DeleteContainer { id: id.clone() });
        self.service.containers.forget(id);
        self.publish(Phase::Removed);
        if !replies.is_empty() {
            tokio::spawn(async move {
                let outcome = committed.wait().await;
                for reply in replies {
                    drop(reply.send(outcome.clone()));
                }
            });
        }
        Life::Ends
    }

    fn save(&self) {
        let change = Change::SetContainerState {
            id: self.configuration.id.clone(),
            state: Box::new(self.record.clone()),
        };
        // Not waited for: after a crash, run.json and exit.json tell the same.
        drop(self.service.records.submit(change));
    }

    fn publish(&self, phase: Phase) {
        self.status.send_replace(Status {
            phase,
            run: self.active.as_ref().map(|active| Arc::clone(&active.run)),
            record: self.record.clone(),
        });
    }
}

/// What waited for the end of a maintenance comes first.
async fn next_command(
    waiting: &mut VecDeque<Command>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    maintained: bool,
) -> Option<Command> {
    let first = if maintained { None } else { waiting.pop_front() };
    match first {
        Some(command) => Some(command),
        None => commands.recv().await,
    }
}

async fn next_event(active: Option<&mut Active>) -> Option<Event> {
    match active {
        Some(active) => active.events.recv().await,
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

pub(super) fn exit_record(status: ExitStatus) -> ExitRecord {
    let reason = match (status.reason, status.message) {
        (ExitReason::ProcessExited, _) => None,
        (_, Some(message)) => Some(printable(&message)),
        (ExitReason::VmmLost, None) => Some("the virtual machine ended unexpectedly".to_owned()),
        (ExitReason::HelperLost, None) => Some("runtime helper lost".to_owned()),
        (ExitReason::StartFailed, None) => Some("the container did not start".to_owned()),
        (ExitReason::Killed, None) => Some("killed by ending its virtual machine".to_owned()),
    };
    ExitRecord {
        exit_code: status.exit_code,
        finished_date: status.finished_date,
        oom_killed: status.out_of_memory,
        reason,
    }
}

#[cfg(test)]
mod tests;
