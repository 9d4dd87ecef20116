//! Removing what does not run.

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::request::{PruneRequest, PruneResponse};

use crate::disk_usage::occupied_bytes;
use crate::service::Service;

/// Removes the containers that do not run; others, and those that have gone meanwhile, are left out.
pub(crate) async fn prune(service: &Service, request: PruneRequest) -> Result<PruneResponse, ApiError> {
    let mut response = PruneResponse { ids: Vec::new(), reclaimed_bytes: 0 };
    for id in request.ids {
        let Ok(container) = service.containers.find(&id) else { continue };
        if container.status().run.is_some() {
            continue;
        }
        let files = service.directories.container(&id).durable;
        let occupied = tokio::task::spawn_blocking(move || occupied_bytes(&files)).await.unwrap_or(0);
        match container.delete(false).await {
            Ok(()) => {
                response.ids.push(id);
                response.reclaimed_bytes = response.reclaimed_bytes.saturating_add(occupied);
            }
            Err(error) if matches!(error.code, ErrorCode::InvalidState | ErrorCode::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(response)
}
