//! Removing volumes, and what they occupy.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::volume::PruneVolumesResponse;
use bulkhead_state::{Change, Quarantined};

use super::{Volumes, missing};
use crate::error::{failed, invalid_state};
use crate::records::Committed;

/// Begins the names of directories that are being removed; no volume name begins with a dot.
const TRASH_PREFIX: &str = ".trash-";
/// stat(2): `st_blocks` counts these, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

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
        for usage in self.usage().into_iter().filter(|usage| !usage.is_used) {
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

    /// Removes those volumes of a container that is no more which nobody named and nobody else uses.
    pub(crate) async fn delete_anonymous(&self, mounts: &[Mount]) -> Result<(), ApiError> {
        for mount in mounts {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            let anonymous = self.inspect(name).is_ok_and(|volume| volume.configuration.is_anonymous());
            if !anonymous {
                continue;
            }
            match self.delete(name).await {
                Err(error) if !matches!(error.code, ErrorCode::InvalidState | ErrorCode::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What each volume takes on the host.
    pub(crate) fn usage(&self) -> Vec<VolumeUsage> {
        let all = self.lock();
        let ready = all.iter().filter(|(_, entry)| entry.volume.ready.initialized());
        ready
            .map(|(name, entry)| VolumeUsage {
                name: name.clone(),
                is_used: !entry.users.is_empty(),
                occupied_bytes: occupied_bytes(&self.directories.volume_disk(name)),
            })
            .collect()
    }

    /// Frees the name at once; the content goes in the background.
    fn take_out(&self, name: &str) -> Result<Committed, ApiError> {
        let mut all = self.lock();
        let entry = all.get(name).filter(|entry| entry.volume.ready.initialized());
        let entry = entry.ok_or_else(|| missing(name))?;
        if let Some(user) = entry.users.first() {
            let message = format!("volume '{name}' is in use by container '{user}'");
            return Err(invalid_state(message)
                .with_hint(format!("Delete the container first: container delete {user}")));
        }
        let folder = self.directories.volumes();
        let trash = folder.join(format!("{TRASH_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        match std::fs::rename(folder.join(name), &trash) {
            Ok(()) => drop(tokio::task::spawn_blocking(move || remove_tree(&trash))),
            // Somebody removed it by hand: only the record is left to go.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(format!("cannot remove volume '{name}'"), &error)),
        }
        all.remove(name);
        Ok(self.records.submit(Change::DeleteVolume { name: name.to_owned() }))
    }

    /// Removes what belongs to no volume: interrupted creations and removals.
    pub(crate) fn sweep(&self, quarantined: &[Quarantined]) {
        let kept: HashSet<&str> = quarantined.iter().map(|row| row.key.as_str()).collect();
        let Ok(entries) = std::fs::read_dir(self.directories.volumes()) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if self.lock().contains_key(&name) || kept.contains(name.as_str()) {
                continue;
            }
            tracing::info!(name, "removing a volume that was never completely created or removed");
            tokio::task::spawn_blocking(move || remove_tree(&entry.path()));
        }
    }
}

/// Disks are sparse, so lengths say nothing.
fn occupied_bytes(disk: &Path) -> u64 {
    std::fs::metadata(disk).map_or(0, |metadata| metadata.blocks().saturating_mul(BLOCK_BYTES))
}

fn remove_tree(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove '{}': {error}", path.display());
    }
}
