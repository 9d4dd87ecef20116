//! All containers by name. The map is in memory, locked for single look-ups only: that is what makes
//! one of fifty creates of a name win.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::request::{UpdateRequest, UpdateResponse};
use bulkhead_runtime_control::BuiltIn;
use bulkhead_state::StateRecord;
use tokio::sync::{mpsc, oneshot, watch};

use super::actor::{Active, Actor, Command, NetworkChange};
use super::identifier;
use super::launch::Order;
use super::running::Run;
use super::status::{Phase, Status};
use crate::error::{exists, invalid, invalid_state, not_found};
use crate::history::History;
use crate::service::Service;

/// Of an id that nobody chose. With fewer, a mistyped name would soon be somebody's.
const FEWEST_LETTERS: usize = 4;

/// A container as requests see it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) configuration: Arc<ContainerConfiguration>,
    history: Arc<History>,
    status: watch::Receiver<Status>,
    commands: mpsc::UnboundedSender<Command>,
}

/// All containers.
#[derive(Debug, Default)]
pub(crate) struct Containers(Mutex<BTreeMap<String, Arc<Container>>>);

impl Containers {
    /// Takes the name and starts the actor; `active` is a run that was found alive.
    pub(crate) fn insert(
        &self,
        service: &Arc<Service>,
        configuration: ContainerConfiguration,
        record: StateRecord,
        active: Option<Active>,
    ) -> Result<Arc<Container>, ApiError> {
        let id = configuration.id.clone();
        let mut containers = self.lock();
        if containers.contains_key(&id) {
            return Err(taken(&id));
        }
        let (container, actor) = prepare(service, Arc::new(configuration), record, active);
        containers.insert(id, Arc::clone(&container));
        drop(containers);
        tokio::spawn(actor.run());
        Ok(container)
    }

    /// Takes another name for a container. Until [`Self::succeed`] or [`Self::forget`] it leads to the
    /// container of the old name.
    pub(super) fn reserve(&self, id: &str, old: &str) -> Result<(), ApiError> {
        let mut containers = self.lock();
        if containers.contains_key(id) {
            return Err(taken(id));
        }
        let container = containers.get(old).cloned().ok_or_else(|| missing(old))?;
        containers.insert(id.to_owned(), container);
        Ok(())
    }

    /// Puts a container with a changed configuration under its name, perhaps a new, reserved one. Handles that were
    /// taken under the old one lead to
    /// the same actor.
    pub(super) fn succeed(&self, old: &str, configuration: Arc<ContainerConfiguration>) {
        let mut containers = self.lock();
        let Some(known) = containers.remove(old) else { return };
        let id = configuration.id.clone();
        let container = Container {
            id: id.clone(),
            configuration,
            history: Arc::clone(&known.history),
            status: known.status.clone(),
            commands: known.commands.clone(),
        };
        containers.insert(id, Arc::new(container));
    }

    /// One by its name, or by the beginning of an id that nobody chose.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Container>, ApiError> {
        let containers = self.lock();
        if let Some(container) = containers.get(id) {
            return Ok(Arc::clone(container));
        }
        let mut begun = containers
            .range(id.to_owned()..)
            .take_while(|(known, _)| known.starts_with(id))
            .filter(|(known, _)| id.len() >= FEWEST_LETTERS && is_generated(known));
        match (begun.next(), begun.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(invalid(format!("several containers have ids that begin with '{id}'"))),
            (None, _) => Err(missing(id)),
        }
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        let containers = self.lock();
        // A reserved name is not a container of its own.
        containers.iter().filter(|(id, one)| **id == one.id).map(|(_, one)| Arc::clone(one)).collect()
    }

    /// The digests of the images that they cannot start without, and one container that needs each.
    pub(crate) fn images(&self) -> BTreeMap<String, String> {
        let containers = self.all();
        let needed = |container: &Arc<Container>| {
            let id = container.id.clone();
            let digests = container.configuration.images().map(|image| image.descriptor.digest.clone());
            digests.map(|digest| (digest, id.clone())).collect::<Vec<_>>()
        };
        containers.iter().rev().flat_map(needed).collect()
    }

    /// Frees the name.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Container>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`super::identifier`] makes them.
fn is_generated(id: &str) -> bool {
    id.len() == uuid::fmt::Hyphenated::LENGTH && uuid::Uuid::try_parse(id).is_ok()
}

fn prepare(
    service: &Arc<Service>,
    configuration: Arc<ContainerConfiguration>,
    record: StateRecord,
    active: Option<Active>,
) -> (Arc<Container>, Actor) {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (actor, status) =
        Actor::new(Arc::clone(service), Arc::clone(&configuration), record, active, receiver);
    let history = Arc::clone(&service.history);
    (Arc::new(Container { id: configuration.id.clone(), configuration, history, status, commands }), actor)
}

impl Container {
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Starts it; answers when its process was executed.
    pub(crate) async fn start(&self, order: Order) -> Result<Arc<Run>, ApiError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Start { order, reply });
        receiver.await.unwrap_or_else(|_| Err(missing(&self.id)))
    }

    /// Boots a machine for its files while it is stopped; answers when the work has begun.
    pub(crate) async fn maintain(&self, work: BuiltIn, order: Order) -> Result<Arc<Run>, ApiError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Maintain { work, order, reply });
        receiver.await.unwrap_or_else(|_| Err(missing(&self.id)))
    }

    /// Ends what [`Self::maintain`] began, if it goes on.
    pub(crate) async fn end_maintenance(&self) {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::EndMaintenance { reply });
        // The actor of a removed container has none.
        drop(receiver.await);
    }

    /// Removes it; answers when that is durable.
    pub(crate) async fn delete(&self, force: bool) -> Result<(), ApiError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Delete { force, reply });
        receiver.await.unwrap_or_else(|_| Err(missing(&self.id)))
    }

    /// Has its restart policy start it.
    pub(super) fn resume(&self) {
        self.send(Command::Resume);
    }

    /// Keeps its restart policy from starting it.
    pub(super) async fn hold(&self, by_user: bool) {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Hold { by_user, reply });
        // Without an actor there is nothing to start either.
        drop(receiver.await);
    }

    /// Gives it another name, under which it is then found; this handle keeps the old one.
    pub(crate) async fn rename(&self, id: &str) -> Result<(), ApiError> {
        identifier::validate(id)?;
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Rename { id: id.to_owned(), reply });
        receiver.await.unwrap_or_else(|_| Err(missing(&self.id)))
    }

    /// Has it join other networks from its next start on.
    pub(crate) async fn join(&self, change: NetworkChange) -> Result<(), ApiError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Join { change, reply });
        receiver.await.unwrap_or_else(|_| Err(missing(&self.id)))
    }

    /// Changes what it was created with; this handle keeps that.
    pub(super) async fn change(&self, request: UpdateRequest) -> Result<UpdateResponse, ApiError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Update { request, reply });
        receiver.await.unwrap_or_else(|_| Err(missing(&self.id)))
    }

    /// Records something that happened to it, under the name that it has by now.
    pub(crate) fn tell(&self, action: &str, attributes: &[(&str, String)]) {
        let id = self.status.borrow().id.clone();
        if id == self.id {
            return self.history.container(&self.configuration, action, attributes);
        }
        let renamed = ContainerConfiguration { id, ..ContainerConfiguration::clone(&self.configuration) };
        self.history.container(&renamed, action, attributes);
    }

    /// Shows it as stopping from now on.
    pub(crate) fn mark_stopping(&self) {
        self.send(Command::Stopping);
    }

    /// The run under way; waits for a start under way. `None` when it is stopped.
    pub(crate) async fn settled_run(&self) -> Option<Arc<Run>> {
        let mut status = self.watch();
        let settled = status.wait_for(|status| status.phase != Phase::Starting).await.ok()?;
        settled.run.clone()
    }

    /// The run of a container whose process runs.
    pub(crate) async fn running(&self) -> Result<Arc<Run>, ApiError> {
        self.settled_run().await.ok_or_else(|| self.not_running())
    }

    pub(super) fn not_running(&self) -> ApiError {
        invalid_state(format!("container '{}' is not running", self.id))
    }

    /// Whoever waits for its start is to hear that it was ended meanwhile.
    pub(super) fn mark_start_cut_short(&self) {
        self.send(Command::StartCutShort);
    }

    fn send(&self, command: Command) {
        // The actor has ended when the container was removed; its dropped reply tells the requester.
        drop(self.commands.send(command));
    }
}

fn taken(id: &str) -> ApiError {
    exists(format!("container '{id}' already exists"))
}

fn missing(id: &str) -> ApiError {
    let shown: String = id.chars().take(80).flat_map(char::escape_default).collect();
    not_found(format!("container '{shown}' not found"))
}
