//! `system df`: what takes how much of the disk.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bulkhead_api::container::ContainerState;
use bulkhead_api::error::ApiError;
use bulkhead_api::system::{DiskUsage, DiskUsageEntry};

use crate::error::failed;
use crate::service::Service;

/// stat(2): `st_blocks` counts these, whatever the file system's block size.
pub(crate) const STAT_BLOCK_BYTES: u64 = 512;
/// Deeper than any of our own directories.
const MAXIMUM_DEPTH: usize = 4;

/// Measures everything; the time it takes grows with the number of blobs, not with their length.
pub(crate) async fn measure(service: &Arc<Service>) -> Result<DiskUsage, ApiError> {
    let service = Arc::clone(service);
    let measured = tokio::task::spawn_blocking(move || {
        Ok(DiskUsage {
            images: images(&service)?,
            containers: containers(&service),
            volumes: volumes(&service),
        })
    });
    measured.await.map_err(|error| failed("cannot measure disk space", &error))?
}

/// What a container was made of stays; the rest would go with `image prune --all`.
fn images(service: &Service) -> Result<DiskUsageEntry, ApiError> {
    let used = service.containers.images();
    let (names, usage) = service.images.usage(used.keys())?;
    let active: BTreeSet<&String> = names.iter().filter(|digest| used.contains_key(*digest)).collect();
    let total: BTreeSet<&String> = names.iter().collect();
    Ok(DiskUsageEntry {
        total: total.len() as u64,
        active: active.len() as u64,
        size_in_bytes: usage.total_bytes,
        reclaimable: usage.unused_bytes,
    })
}

fn volumes(service: &Service) -> DiskUsageEntry {
    let mut entry = DiskUsageEntry::default();
    for volume in service.volumes.usage() {
        entry.add(volume.occupied_bytes, volume.is_used);
    }
    entry
}

fn containers(service: &Service) -> DiskUsageEntry {
    let mut entry = DiskUsageEntry::default();
    for container in service.containers.all() {
        let bytes = occupied_bytes(&service.directories.container(&container.id).durable);
        let stopped = container.status().phase.shown() == ContainerState::Stopped;
        entry.add(bytes, !stopped);
    }
    entry
}

/// Disk space of what is below a directory; links are not followed.
pub(crate) fn occupied_bytes(directory: &Path) -> u64 {
    bytes_below(directory, MAXIMUM_DEPTH)
}

fn bytes_below(directory: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| {
        let Ok(metadata) = entry.metadata() else { return 0 };
        let below = if metadata.is_dir() && depth > 0 { bytes_below(&entry.path(), depth - 1) } else { 0 };
        metadata.blocks().saturating_mul(STAT_BLOCK_BYTES).saturating_add(below)
    };
    entries.filter_map(Result::ok).map(bytes).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_take_no_space_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let disk = std::fs::File::create(folder.path().join("disk")).unwrap();
        disk.set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("below/data"), vec![1; 1 << 20]).unwrap();
        let bytes = occupied_bytes(folder.path());
        assert!(((1 << 20)..(2 << 20)).contains(&bytes), "{bytes}");
    }
}
