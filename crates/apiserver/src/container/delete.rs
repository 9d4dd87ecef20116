//! Files of a container that is no more.

use bulkhead_api::error::ApiError;
use bulkhead_paths::Directories;
use tokio::task::JoinHandle;

use crate::error::failed;
use crate::trash;

/// Moves the container's directory, if it was ever made, out of the way at once; the handle tells when
/// its contents are gone.
pub(super) fn discard_files(directories: &Directories, id: &str) -> Result<JoinHandle<()>, ApiError> {
    trash::discard(&directories.containers(), id)
        .map_err(|error| failed(format!("cannot remove the files of container '{id}'"), &error))
}
