//! Removing what does not run.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::request::{PruneRequest, PruneResponse};

use crate::service::Service;

/// stat(2): `st_blocks` counts these, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Removes the containers that do not run; others, and those that have gone meanwhile, are left out.
pub(crate) async fn prune(service: &Service, request: PruneRequest) -> Result<PruneResponse, ApiError> {
    let mut response = PruneResponse { ids: Vec::new(), reclaimed_bytes: 0 };
    for id in request.ids {
        let Ok(container) = service.containers.find(&id) else { continue };
        let occupied = occupied_bytes(&service.directories.container(&id).durable);
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

/// A container's directory is flat; disks are sparse, so lengths say nothing.
fn occupied_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let blocks = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.blocks());
    entries.filter_map(Result::ok).map(|entry| blocks(entry).saturating_mul(BLOCK_BYTES)).sum()
}
