//! The service itself.

use bulkhead_api::route;
use bulkhead_api::system::{DiskUsage, Property, SystemStatus};

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

    /// Configured values in force.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_properties(&self) -> Result<Vec<Property>, ClientError> {
        self.get(route::PROPERTIES).await
    }

    /// What takes how much of the disk.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn disk_usage(&self) -> Result<DiskUsage, ClientError> {
        self.get(route::DISK_USAGE).await
    }

    /// Ends the apiserver; containers go on.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn end_apiserver(&self) -> Result<(), ClientError> {
        self.post(route::END, &serde_json::json!({})).await
    }

    /// Stops all containers and the daemons.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn shut_down(&self) -> Result<(), ClientError> {
        self.post(route::SHUTDOWN, &serde_json::json!({})).await
    }
}
