//! Registries.

use bulkhead_api::registry::{LoginRequest, RegistryResource};
use bulkhead_api::route;

use crate::connection::Client;
use crate::error::ClientError;
use crate::path::percent_encode;

impl Client {
    /// Registries that the user is logged in to.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list_registries(&self) -> Result<Vec<RegistryResource>, ClientError> {
        self.get(route::REGISTRIES).await
    }

    /// Checks a login with its registry and keeps it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn log_in(&self, request: &LoginRequest) -> Result<(), ClientError> {
        self.post(route::REGISTRIES, request).await
    }

    /// Forgets a login.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn log_out(&self, server: &str) -> Result<(), ClientError> {
        self.delete(&format!("{}?server={}", route::REGISTRY, percent_encode(server))).await
    }
}
