//! Other networks for a container that does not run: a machine gets its interfaces when it starts.

use std::sync::Arc;

use bulkhead_api::container::{ContainerConfiguration, NetworkConfiguration};
use bulkhead_api::error::ApiError;
use bulkhead_state::{Change, ContainerRecord};

use super::{Actor, Life, Reply};
use crate::error::{exists, invalid_state};

/// What is to be different from the next start on.
#[derive(Clone, Debug)]
pub(crate) enum NetworkChange {
    /// It joins one more, after the others.
    Connect(NetworkConfiguration),
    /// It joins one less; with `force` it may be one that it does not join.
    Disconnect { network: String, force: bool },
}

impl Actor {
    pub(super) async fn join(&mut self, change: NetworkChange, reply: Reply) -> Life {
        drop(reply.send(self.try_join(change).await));
        Life::Goes
    }

    async fn try_join(&mut self, change: NetworkChange) -> Result<(), ApiError> {
        let id = &self.configuration.id;
        self.expect_staying()?;
        if self.active.is_some() {
            return Err(invalid_state(format!(
                "container '{id}' is running: its networks can be changed when it is stopped"
            ))
            .with_hint(format!("Stop it first: container stop {id}")));
        }
        let Some(changed) = changed(&self.configuration, change)? else { return Ok(()) };
        let before = std::mem::replace(&mut self.configuration, Arc::new(changed));
        // Whoever deletes a network from now on sees that it is joined; one that was deleted before is found missing.
        self.service.containers.succeed(&before.id, Arc::clone(&self.configuration));
        let joined = match self.service.networks.check(Some(&self.configuration.networks)) {
            Ok(()) => self.put_configuration().await,
            Err(error) => Err(error),
        };
        if joined.is_err() {
            self.configuration = before;
            self.service.containers.succeed(&self.configuration.id, Arc::clone(&self.configuration));
        }
        joined
    }

    /// Nobody is told that something of a container was changed that is about to go.
    pub(super) fn expect_staying(&self) -> Result<(), ApiError> {
        let id = &self.configuration.id;
        if self.deletions.is_empty() {
            Ok(())
        } else {
            Err(invalid_state(format!("container '{id}' is being deleted")))
        }
    }

    /// Makes the changed configuration durable.
    pub(super) async fn put_configuration(&self) -> Result<(), ApiError> {
        let record =
            ContainerRecord { configuration: (*self.configuration).clone(), state: self.record.clone() };
        // Which changes one that is there, and brings back none that is gone.
        let change =
            Change::RenameContainer { from: self.configuration.id.clone(), record: Box::new(record) };
        self.service.records.submit(change).wait().await
    }
}

/// `None` if that is how it is already.
fn changed(
    configuration: &ContainerConfiguration,
    change: NetworkChange,
) -> Result<Option<ContainerConfiguration>, ApiError> {
    let id = &configuration.id;
    let joined = |network: &str| configuration.networks.iter().position(|one| one.network == network);
    let mut changed = configuration.clone();
    match change {
        NetworkChange::Connect(mut wanted) => {
            if joined(&wanted.network).is_some() {
                return Err(exists(format!("container '{id}' is on network '{}' already", wanted.network)));
            }
            if wanted.options.hostname.is_empty() {
                let first = configuration.networks.first();
                wanted.options.hostname = first.map_or(id, |first| &first.options.hostname).clone();
            }
            changed.networks.push(wanted);
        }
        NetworkChange::Disconnect { network, force } => match joined(&network) {
            Some(place) => drop(changed.networks.remove(place)),
            None if force => return Ok(None),
            None => return Err(invalid_state(format!("container '{id}' is not on network '{network}'"))),
        },
    }
    Ok(Some(changed))
}
