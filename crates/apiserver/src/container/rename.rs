//! The directory of a container that gets another name.

use std::fs::File;
use std::io;

use bulkhead_api::error::ApiError;
use bulkhead_paths::Directories;

use crate::error::failed;

/// Durable when it returns: only then may the record forget the old name. A directory that was never
/// made, or is renamed already, is no error.
pub(super) fn directory(directories: &Directories, from: &str, to: &str) -> Result<(), ApiError> {
    let (old, new) = (directories.container(from).durable, directories.container(to).durable);
    let renamed = match std::fs::rename(old, new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(directories.containers()).and_then(|parent| parent.sync_all()),
    };
    renamed.map_err(|error| failed(format!("cannot rename the files of container '{from}'"), &error))
}
