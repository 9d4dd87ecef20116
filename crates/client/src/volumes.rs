//! Volumes.

use bulkhead_api::route;
use bulkhead_api::volume::{CreateVolumeRequest, PruneVolumesResponse, VolumeResource};

use crate::connection::Client;
use crate::error::ClientError;
use crate::path::fill;

impl Client {
    /// All volumes.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list_volumes(&self) -> Result<Vec<VolumeResource>, ClientError> {
        self.get(route::VOLUMES).await
    }

    /// One volume.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn volume(&self, name: &str) -> Result<VolumeResource, ClientError> {
        self.get(&fill(route::VOLUME, "name", name)).await
    }

    /// Creates a volume.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create_volume(&self, request: &CreateVolumeRequest) -> Result<VolumeResource, ClientError> {
        self.post_for(route::VOLUMES, request).await
    }

    /// Removes a volume that no container has.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_volume(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&fill(route::VOLUME, "name", name)).await
    }

    /// Removes the volumes that no container has.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn prune_volumes(&self) -> Result<PruneVolumesResponse, ClientError> {
        self.post_for(route::PRUNE_VOLUMES, &serde_json::json!({})).await
    }
}
