//! Removing volumes, and what they occupy.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::volume::PruneVolumesResponse;
use bulkhead_state::Change;

use super::{Volumes, missing, shared};
use crate::disk_usage::STAT_BLOCK_BYTES;
use crate::error::{failed, invalid_state};
use crate::records::Committed;
use crate::trash;

/// What a volume takes on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeUsage {
    pub(crate) name: String,
    /// Some container, running or not, mounts it.
    pub(crate) is_used: bool,
    pub(crate) occupied_bytes: u64,
}

impl Volumes {
    /// Removes a volume that no container has; answers when that is durable.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ApiError> {
        self.take_out(name)?.wait().await?;
        self.history.volume("destroy", name);
        Ok(())
    }

    /// Removes the volumes that no container has.
    pub(crate) async fn prune(&self) -> Result<PruneVolumesResponse, ApiError> {
        let mut response = PruneVolumesResponse { names: Vec::new(), reclaimed_bytes: 0 };
        let usage = tokio::task::block_in_place(|| self.usage());
        for usage in usage.into_iter().filter(|usage| !usage.is_used) {
            match self.delete(&usage.name).await {
                Ok(()) => {
                    response.names.push(usage.name);
                    response.reclaimed_bytes = response.reclaimed_bytes.saturating_add(usage.occupied_bytes);
                }
                // Gone, or taken, meanwhile.
                Err(error) if matches!(error.code, ErrorCode::InvalidState | ErrorCode::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(response)
    }

    /// Removes those volumes that were made for these mounts, and that nobody else uses.
    pub(crate) async fn delete_anonymous(&self, mounts: &[Mount]) -> Result<(), ApiError> {
        for mount in mounts {
            let MountKind::Volume { name, anonymous: true, .. } = &mount.kind else { continue };
            match self.delete(name).await {
                Err(error) if !matches!(error.code, ErrorCode::InvalidState | ErrorCode::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What each volume takes on the host. Blocks for as long as it takes to walk the shared ones.
    pub(crate) fn usage(&self) -> Vec<VolumeUsage> {
        let all = self.lock();
        let ready = all.iter().filter(|(_, entry)| entry.volume.is_ready());
        let known: Vec<_> =
            ready.map(|(name, entry)| (name.clone(), !entry.users.is_empty(), entry.is_shared())).collect();
        drop(all);
        known
            .into_iter()
            .map(|(name, is_used, is_shared)| {
                let place = self.place(&name, is_shared);
                let occupied_bytes =
                    if is_shared { shared::occupied_bytes(&place) } else { occupied_bytes(&place) };
                VolumeUsage { name, is_used, occupied_bytes }
            })
            .collect()
    }

    /// Frees the name at once; the content goes in the background.
    fn take_out(&self, name: &str) -> Result<Committed, ApiError> {
        let mut all = self.lock();
        let entry = all.get(name).filter(|entry| entry.volume.is_ready());
        let entry = entry.ok_or_else(|| missing(name))?;
        if let Some(user) = entry.users.first() {
            let message = format!("volume '{name}' is in use by container '{user}'");
            return Err(invalid_state(message)
                .with_hint(format!("Delete the container first: container delete {user}")));
        }
        trash::discard(&self.directories.volumes(), name)
            .map_err(|error| failed(format!("cannot remove volume '{name}'"), &error))?;
        all.remove(name);
        Ok(self.records.submit(Change::DeleteVolume { name: name.to_owned() }))
    }

    /// Removes what belongs to no volume: interrupted creations and removals.
    pub(crate) fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.directories.volumes()) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if self.lock().contains_key(&name) || self.set_aside.contains(&name) {
                continue;
            }
            tracing::info!(name, "removing a volume that was never completely created or removed");
            if trash::is_trash(&name) {
                tokio::task::spawn_blocking(move || trash::unlink(&entry.path()));
            } else if let Err(error) = trash::discard(&self.directories.volumes(), &name) {
                tracing::error!(name, "cannot remove what is left of a volume: {error}");
            }
        }
    }
}

/// Disks are sparse, so lengths say nothing.
fn occupied_bytes(disk: &Path) -> u64 {
    std::fs::metadata(disk).map_or(0, |metadata| metadata.blocks().saturating_mul(STAT_BLOCK_BYTES))
}
