//! Another name for a container, whether it runs or not.
//!
//! The name is in the record, in the names of its directories, in the DNS and in its helper. The record
//! decides: it changes in one transaction and says what the container was called, until all the rest is
//! renamed too. A crash before leaves the old name, a crash after is completed by the next service
//! (`recover`).
//!
//! A running helper knows its directories by descriptors, so that it loses nothing in between. What the
//! guest was told when it started stays: its host name is that of the start.

use std::sync::Arc;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::{RENAMING_GENERATION, Reply as Answer, Request};
use bulkhead_state::{Change, ContainerRecord, StateRecord};

use super::super::running::Run;
use super::super::{identifier, rename};
use super::{Actor, Life, Reply};
use crate::error::{from_control, invalid_state};

impl Actor {
    pub(super) async fn rename(&mut self, id: String, reply: Reply) -> Life {
        drop(reply.send(self.try_rename(&id).await));
        Life::Goes
    }

    async fn try_rename(&mut self, id: &str) -> Result<(), ApiError> {
        let old = self.configuration.id.clone();
        self.expect_renamable().await?;
        self.service.containers.reserve(id, &old)?;
        if let Err(error) = rename::expect_free(&self.service.directories, id) {
            self.service.containers.forget(id);
            return Err(error);
        }
        let configuration = Arc::new(renamed(&self.configuration, id));
        if let Err(error) = self.put(&old, &configuration, Some(old.clone())).await {
            self.service.containers.forget(id);
            return Err(error);
        }
        if let Err(error) = self.rename_all(&old, &configuration).await {
            // Everything has the old name still: back to it in the record and in memory.
            if let Err(error) = self.put(id, &self.configuration, None).await {
                tracing::error!(id = old, "cannot undo a renaming: {error}");
            }
            self.service.containers.forget(id);
            return Err(error);
        }
        self.configuration = configuration;
        // Not waited for: whoever gets the old name is recorded after it.
        self.save();
        self.service.history.container(&self.configuration, "rename", &[("oldName", old.clone())]);
        self.service.volumes.rename(&old, id);
        self.service.containers.succeed(&old, Arc::clone(&self.configuration));
        let phase = self.status.borrow().phase;
        self.publish(phase);
        Ok(())
    }

    async fn expect_renamable(&self) -> Result<(), ApiError> {
        let id = &self.configuration.id;
        if !self.deletions.is_empty() {
            return Err(invalid_state(format!("container '{id}' is being deleted")));
        }
        let Some(active) = &self.active else { return Ok(()) };
        if active.starting.is_some() {
            let message = format!("container '{id}' is starting: it can be renamed when it runs");
            return Err(invalid_state(message).with_hint("Try again."));
        }
        match active.run.ask(Request::Status).await {
            Ok(Answer::Status(status)) if status.generation >= RENAMING_GENERATION => Ok(()),
            Ok(_) => Err(invalid_state(format!(
                "container '{id}' was started by an earlier version: it can be renamed when it is stopped"
            ))
            .with_hint(format!("Stop it first: container stop {id}"))),
            Err(error) => Err(from_control(id, error)),
        }
    }

    async fn put(
        &self,
        from: &str,
        configuration: &Arc<ContainerConfiguration>,
        renamed_from: Option<String>,
    ) -> Result<(), ApiError> {
        let state = StateRecord { renamed_from, ..self.record.clone() };
        let record = ContainerRecord { configuration: (**configuration).clone(), state };
        let change = Change::RenameContainer { from: from.to_owned(), record: Box::new(record) };
        self.service.records.submit(change).wait().await
    }

    /// All that has the name beside the record, or nothing of it.
    async fn rename_all(
        &self,
        old: &str,
        configuration: &Arc<ContainerConfiguration>,
    ) -> Result<(), ApiError> {
        let (service, id) = (&self.service, &configuration.id);
        if let Some(run) = &self.record.run {
            service.networks.rename(old, configuration, run).await?;
        }
        if let Err(error) = rename::directories(&service.directories, old, id) {
            if let Some(run) = &self.record.run
                && let Err(error) = service.networks.rename(id, &self.configuration, run).await
            {
                tracing::error!(id = old, "cannot undo a renaming: {error}");
            }
            return Err(error);
        }
        if let Some(active) = &self.active {
            tell_helper(&active.run, id).await;
        }
        Ok(())
    }
}

/// It needs the name for messages only.
pub(crate) async fn tell_helper(run: &Run, id: &str) {
    if let Err(error) = run.ask(Request::Rename { container_id: id.to_owned() }).await {
        tracing::warn!(id, "cannot tell the runtime helper its container's name: {error}");
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
