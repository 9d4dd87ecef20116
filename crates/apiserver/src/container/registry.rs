//! All containers by name. The map is in memory, locked for single look-ups only: that is what makes
//! one of fifty creates of a name win.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::BuiltIn;
use bulkhead_state::StateRecord;
use tokio::sync::{mpsc, oneshot, watch};

use super::actor::{Active, Actor, Command};
use super::launch::Order;
use super::running::Run;
use super::status::{Phase, Status};
use crate::error::{exists, invalid_state, not_found};
use crate::service::Service;

/// A container as requests see it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) configuration: Arc<ContainerConfiguration>,
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
        let configuration = Arc::new(configuration);
        let (commands, receiver) = mpsc::unbounded_channel();
        let mut containers = self.lock();
        if containers.contains_key(&id) {
            return Err(exists(format!("container '{id}' already exists")));
        }
        let (actor, status) =
            Actor::new(Arc::clone(service), Arc::clone(&configuration), record, active, receiver);
        let container = Arc::new(Container { id: id.clone(), configuration, status, commands });
        containers.insert(id, Arc::clone(&container));
        drop(containers);
        tokio::spawn(actor.run());
        Ok(container)
    }

    pub(crate) fn find(&self, id: &str) -> Result<Arc<Container>, ApiError> {
        self.lock().get(id).cloned().ok_or_else(|| missing(id))
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.lock().values().cloned().collect()
    }

    /// Frees the name.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Container>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        self.settled_run()
            .await
            .ok_or_else(|| invalid_state(format!("container '{}' is not running", self.id)))
    }

    fn send(&self, command: Command) {
        // The actor has ended when the container was removed; its dropped reply tells the requester.
        drop(self.commands.send(command));
    }
}

fn missing(id: &str) -> ApiError {
    let shown: String = id.chars().take(80).flat_map(char::escape_default).collect();
    not_found(format!("container '{shown}' not found"))
}
