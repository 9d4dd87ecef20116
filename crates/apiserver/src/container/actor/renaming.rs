//! Another name for a container that does not run.
//!
//! The name is in the record, in the directory's name, in the DNS and in the helper's specification.
//! A running helper keeps its own; so the container must not run. The record decides: it changes in
//! one transaction and says what the directory was called, until that is renamed too. A crash before
//! leaves the old name, a crash after is completed by the next service (`recover`).

use std::sync::Arc;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_state::{Change, ContainerRecord, StateRecord};

use super::super::status::Phase;
use super::super::{identifier, rename};
use super::{Actor, Life, Reply};
use crate::error::invalid_state;

impl Actor {
    pub(super) async fn rename(&mut self, id: String, reply: Reply) -> Life {
        match self.try_rename(&id).await {
            Ok(()) => {
                // Its successor has begun under the new name.
                self.publish(Phase::Removed);
                drop(reply.send(Ok(())));
                Life::Ends
            }
            Err(error) => {
                drop(reply.send(Err(error)));
                Life::Goes
            }
        }
    }

    async fn try_rename(&mut self, id: &str) -> Result<(), ApiError> {
        let old = self.configuration.id.clone();
        if self.active.is_some() || self.restart_at.is_some() {
            return Err(invalid_state(format!(
                "container '{old}' is running: only a stopped one can be renamed"
            ))
            .with_hint(format!("Stop it first: container stop {old}")));
        }
        rename::expect_free(&self.service.directories, id)?;
        let containers = &self.service.containers;
        containers.reserve(id, &old)?;
        let configuration = renamed(&self.configuration, id);
        let state = StateRecord { renamed_from: Some(old.clone()), ..self.record.clone() };
        let record = ContainerRecord { configuration: configuration.clone(), state };
        let change = Change::RenameContainer { from: old.clone(), record: Box::new(record) };
        if let Err(error) = self.service.records.submit(change).wait().await {
            containers.forget(id);
            return Err(error);
        }
        let record = self.record.clone();
        match rename::directory(&self.service.directories, &old, id) {
            Ok(()) => {
                let change = Change::SetContainerState { id: id.to_owned(), state: Box::new(record.clone()) };
                drop(self.service.records.submit(change));
            }
            Err(error) => {
                // The directory has the old name still: back to it in the record and in memory.
                let record = ContainerRecord {
                    configuration: (*self.configuration).clone(),
                    state: self.record.clone(),
                };
                let change = Change::RenameContainer { from: id.to_owned(), record: Box::new(record) };
                if let Err(error) = self.service.records.submit(change).wait().await {
                    tracing::error!(id = old, "cannot undo a renaming: {error}");
                }
                containers.forget(id);
                return Err(error);
            }
        }
        let configuration = Arc::new(configuration);
        self.service.history.container(&configuration, "rename", &[("oldName", old.clone())]);
        self.service.volumes.rename(&old, id);
        self.service.containers.succeed(&self.service, &old, configuration, record);
        Ok(())
    }
}

/// Everything that was derived from the old name follows the new one.
fn renamed(configuration: &ContainerConfiguration, id: &str) -> ContainerConfiguration {
    let mut renamed = configuration.clone();
    let (old, new) = (identifier::hostname(&configuration.id), identifier::hostname(id));
    for network in &mut renamed.networks {
        let hostname = &mut network.options.hostname;
        if *hostname == configuration.id {
            id.clone_into(hostname);
        } else if hostname == old {
            new.clone_into(hostname);
        }
    }
    let variable = format!("HOSTNAME={old}");
    for known in renamed.init_process.environment.iter_mut().filter(|known| **known == variable) {
        *known = format!("HOSTNAME={new}");
    }
    id.clone_into(&mut renamed.id);
    renamed
}
