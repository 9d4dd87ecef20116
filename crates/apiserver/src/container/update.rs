//! What of a container can be changed after its creation.

use bulkhead_api::error::ApiError;
use bulkhead_api::request::{UpdateRequest, UpdateResponse};

use super::configuration;
use super::registry::Container;
use crate::error::invalid;

impl Container {
    /// `POST /v1/containers/{id}/update`
    pub(crate) async fn update(&self, request: UpdateRequest) -> Result<UpdateResponse, ApiError> {
        if request == UpdateRequest::default() {
            return Err(invalid("nothing is to be changed"));
        }
        configuration::validate_machine(request.cpus, request.cpu_percent, request.memory_in_bytes)?;
        let policy = request.restart_policy.unwrap_or_default();
        configuration::validate_restarts(self.configuration.auto_remove, policy)?;
        self.change(request).await
    }
}
