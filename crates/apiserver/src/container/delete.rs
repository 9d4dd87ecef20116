//! Files of a container that is no more.

use std::io;
use std::path::Path;

use bulkhead_api::error::ApiError;
use bulkhead_paths::Directories;
use tokio::task::JoinHandle;

use crate::error::failed;

/// Begins the names of directories that are being removed; no container name begins with a dot.
pub(super) const TRASH_PREFIX: &str = ".trash-";

/// Moves the container's directory out of the way at once, so that its name is free, and unlinks the
/// contents in the background; the handle tells when that is over.
pub(super) fn discard_files(directories: &Directories, id: &str) -> Result<JoinHandle<()>, ApiError> {
    let container = directories.container(id);
    let trash = directories.containers().join(format!("{TRASH_PREFIX}{}", uuid::Uuid::new_v4().simple()));
    match std::fs::rename(&container.durable, &trash) {
        Ok(()) => {}
        // Created, never started, or the last removal was interrupted.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(format!("cannot remove the files of container '{id}'"), &error)),
    }
    Ok(tokio::task::spawn_blocking(move || remove_tree(&trash)))
}

/// Removes a directory of ours; what cannot be removed now is swept at the next start.
pub(super) fn remove_tree(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("cannot remove '{}': {error}", path.display()),
    }
}
