//! Changes to what a container was created with.

use std::sync::Arc;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::request::{UpdateRequest, UpdateResponse};
use tokio::sync::oneshot;

use super::super::restart::Restarts;
use super::super::status::Phase;
use super::{Actor, Life};

pub(super) type UpdateReply = oneshot::Sender<Result<UpdateResponse, ApiError>>;

impl Actor {
    pub(super) async fn update(&mut self, request: &UpdateRequest, reply: UpdateReply) -> Life {
        // Nobody may wait for it any more.
        drop(reply.send(self.try_update(request).await));
        Life::Goes
    }

    async fn try_update(&mut self, request: &UpdateRequest) -> Result<UpdateResponse, ApiError> {
        self.expect_staying()?;
        let changed = Arc::new(updated(&self.configuration, request));
        let before = std::mem::replace(&mut self.configuration, changed);
        if let Err(error) = self.put_configuration().await {
            self.configuration = before;
            return Err(error);
        }
        self.service.containers.succeed(&before.id, Arc::clone(&self.configuration));
        if let Some(policy) = request.restart_policy {
            self.restarts = Restarts::new(policy);
            // It waits for what is not to come any more.
            if policy.is_no() && self.restart_at.take().is_some() {
                self.publish(Phase::Stopped);
            }
        }
        self.tell("update", &[]);
        let of_the_machine = UpdateRequest { restart_policy: None, ..request.clone() };
        let waits_for_start = self.active.is_some() && of_the_machine != UpdateRequest::default();
        Ok(UpdateResponse { waits_for_start })
    }
}

fn updated(before: &ContainerConfiguration, request: &UpdateRequest) -> ContainerConfiguration {
    let mut configuration = before.clone();
    if let Some(policy) = request.restart_policy {
        configuration.restart_policy = policy;
    }
    if let Some(cpus) = request.cpus {
        configuration.resources.cpus = cpus;
        configuration.resources.cpu_percent = request.cpu_percent;
    }
    if let Some(memory) = request.memory_in_bytes {
        configuration.resources.memory_in_bytes = memory;
    }
    if let Some(limit) = request.pids_limit {
        configuration.pids_limit = Some(limit).filter(|limit| *limit > 0);
    }
    configuration
}
