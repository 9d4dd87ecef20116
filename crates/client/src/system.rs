//! The service itself.

use bulkhead_api::route;
use bulkhead_api::system::SystemStatus;

use crate::connection::Client;
use crate::error::ClientError;

impl Client {
    /// How the service is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_status(&self) -> Result<SystemStatus, ClientError> {
        self.get(route::STATUS).await
    }

    /// Stops all containers and the daemons.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn shut_down(&self) -> Result<(), ClientError> {
        self.post(route::SHUTDOWN, &serde_json::json!({})).await
    }
}
