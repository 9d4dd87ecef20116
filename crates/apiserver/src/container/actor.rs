//! The task that alone changes a container's state.

mod ending;
mod health;
mod joining;
mod maintaining;
mod preparing;
mod renaming;
mod starting;
mod updating;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::health::HealthCheckResult;
use bulkhead_api::request::UpdateRequest;
use bulkhead_runtime_control::{BuiltIn, Event, EventReceiver};
use bulkhead_state::{Change, StateRecord};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::health::Monitor;
use super::launch::Order;
use super::maintenance::{self, Maintenance};
use super::restart::Restarts;
use super::running::{End, Run};
use super::status::{Phase, Status};
use crate::error::invalid_state;
use crate::service::Service;

pub(super) use ending::{exit_of_lost_run, exit_record};
pub(crate) use joining::NetworkChange;
pub(super) use renaming::tell_helper;
pub(crate) use starting::Starting;

use preparing::{Copies, Preparation, copies_ended};

/// What requests want.
#[derive(Debug)]
pub(crate) enum Command {
    /// Somebody wants it to run.
    Start {
        order: Order,
        reply: StartReply,
    },
    /// Its restart policy wants it to run, at the start of the service.
    Resume,
    /// It is to end: no policy starts it any more. Answered when that is so.
    Hold {
        by_user: bool,
        reply: oneshot::Sender<()>,
    },
    /// It is on its way down.
    Stopping,
    /// It is on its way down before it has started.
    StartCutShort,
    Rename {
        id: String,
        reply: Reply,
    },
    /// It is to have other networks from its next start on.
    Join {
        change: NetworkChange,
        reply: Reply,
    },
    Update {
        request: UpdateRequest,
        reply: updating::UpdateReply,
    },
    Delete {
        force: bool,
        reply: Reply,
    },
    /// Its files are wanted while it does not run.
    Maintain {
        work: BuiltIn,
        order: Order,
        reply: StartReply,
    },
    /// Answered when no maintenance is under way.
    EndMaintenance {
        reply: oneshot::Sender<()>,
    },
}

impl Command {
    /// Whether the container itself is to run.
    fn is_start(&self) -> bool {
        matches!(self, Self::Start { .. } | Self::Resume)
    }
}

pub(super) type StartReply = oneshot::Sender<Result<Arc<Run>, ApiError>>;
type Reply = oneshot::Sender<Result<(), ApiError>>;

/// A run and what the actor needs for it.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) run: Arc<Run>,
    pub(crate) events: EventReceiver,
    pub(crate) end: watch::Sender<Option<End>>,
    /// Until the process was executed.
    pub(crate) starting: Option<Starting>,
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
    deletions: Vec<Reply>,
    restarts: Restarts,
    /// Nothing but a command starts it.
    held: bool,
    /// When the policy starts it again.
    restart_at: Option<Instant>,
    /// Since when its process runs.
    running_since: Instant,
    monitor: Option<Monitor>,
    maintenance: Option<Maintenance>,
    /// What follows the maintenance, if that is none for its own sake, or the copies.
    preparation: Option<Preparation>,
    /// Of its volumes, which a start waits for.
    copies: Option<Copies>,
    /// Commands that wait for its end.
    waiting: VecDeque<Command>,
}

enum Step {
    Command(Command),
    Event(Option<Event>),
    Maintained,
    Prepared,
    Checked(Option<HealthCheckResult>),
    Overdue,
    PauseOver,
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
        let id = configuration.id.clone();
        let (status, receiver) = watch::channel(Status { id, phase, run, record: record.clone() });
        let actor = Self {
            restarts: Restarts::new(configuration.restart_policy),
            held: record.stopped_by_user,
            restart_at: None,
            running_since: Instant::now(),
            monitor: None,
            deletions: Vec::new(),
            maintenance: None,
            preparation: None,
            copies: None,
            waiting: VecDeque::new(),
            service,
            configuration,
            record,
            active,
            commands,
            status,
        };
        (actor, receiver)
    }

    pub(super) async fn run(mut self) {
        if self.active.as_ref().is_some_and(|active| active.starting.is_none()) {
            self.watch_health();
        }
        loop {
            let deadline =
                self.active.as_ref().and_then(|active| active.starting.as_ref()).map(Starting::deadline);
            let occupied = self.is_occupied();
            let step = tokio::select! {
                command = next_command(&mut self.waiting, &mut self.commands, occupied) => {
                    match command {
                        Some(command) => Step::Command(command),
                        None => return,
                    }
                },
                () = maintenance::ended(self.maintenance.as_mut()) => Step::Maintained,
                () = copies_ended(self.copies.as_mut()) => Step::Prepared,
                event = next_event(self.active.as_mut()) => Step::Event(event),
                result = next_result(self.monitor.as_mut()) => Step::Checked(result),
                () = reached(deadline) => Step::Overdue,
                () = reached(self.restart_at), if !occupied => Step::PauseOver,
            };
            let life = match step {
                Step::Command(command) if occupied => self.defer(command),
                Step::Maintained => self.maintained().await,
                Step::Prepared => self.prepared(Ok(())).await,
                Step::Command(command) => self.command(command).await,
                Step::Event(event) => self.event(event).await,
                Step::Checked(result) => self.checked(result),
                Step::Overdue => self.overdue(),
                Step::PauseOver => self.restart().await,
            };
            if life == Life::Ends {
                return;
            }
        }
    }

    /// Most commands wait.
    fn is_occupied(&self) -> bool {
        self.maintenance.is_some() || self.preparation.is_some()
    }

    async fn command(&mut self, command: Command) -> Life {
        match command {
            Command::Start { order, reply } => self.start(order, reply).await,
            Command::Resume => self.resume().await,
            Command::Hold { by_user, reply } => {
                self.hold(by_user);
                // Nobody may wait for it any more.
                let _ = reply.send(());
                Life::Goes
            }
            Command::Stopping => {
                if self.active.as_ref().is_some_and(|active| active.starting.is_none()) {
                    self.publish(Phase::Stopping);
                }
                Life::Goes
            }
            Command::StartCutShort => self.start_cut_short(),
            Command::Rename { id, reply } => self.rename(id, reply).await,
            Command::Join { change, reply } => self.join(change, reply).await,
            Command::Update { request, reply } => self.update(&request, reply).await,
            Command::Delete { force, reply } => self.delete(force, reply),
            Command::Maintain { work, order, reply } => self.maintain(work, order, reply).await,
            Command::EndMaintenance { reply } => {
                // Nobody may wait for it any more.
                let _ = reply.send(());
                Life::Goes
            }
        }
    }

    /// A stop wins over any pause.
    fn hold(&mut self, by_user: bool) {
        self.held = true;
        let starts = self.prepares_start() || self.waiting.iter().any(Command::is_start);
        let ends = self.active.is_some() || self.restart_at.is_some() || starts;
        if by_user && ends && !self.record.stopped_by_user {
            self.record.stopped_by_user = true;
            self.save();
        }
        if self.restart_at.take().is_some() {
            self.publish(Phase::Stopped);
        }
    }

    /// Whoever waits for a start hears how it was ended.
    fn ended_while_it_started(&self, how: &str) -> ApiError {
        invalid_state(format!("container '{}' was {how} while it started", self.configuration.id))
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
            id: self.configuration.id.clone(),
            phase,
            run: self.active.as_ref().map(|active| Arc::clone(&active.run)),
            record: self.record.clone(),
        });
    }

    fn tell(&self, action: &str, attributes: &[(&str, String)]) {
        self.service.history.container(&self.configuration, action, attributes);
    }

    fn tell_networks(&self, action: &str) {
        for network in &self.configuration.networks {
            self.service.history.network(action, &network.network, Some(&self.configuration.id));
        }
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

async fn next_result(monitor: Option<&mut Monitor>) -> Option<HealthCheckResult> {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How long the first process has run.
fn since(instant: Instant) -> Duration {
    Instant::now().saturating_duration_since(instant)
}

#[cfg(test)]
mod tests;
