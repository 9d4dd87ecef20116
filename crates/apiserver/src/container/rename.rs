//! The directories of a container that gets another name.

use std::fs::File;
use std::io;

use bulkhead_api::error::ApiError;
use bulkhead_paths::Directories;

use crate::error::{exists, failed};

/// Refuses a name under which there are files: those of a container whose record is damaged, which are
/// kept, and which nobody may get by accident.
pub(super) fn expect_free(directories: &Directories, id: &str) -> Result<(), ApiError> {
    match directories.container(id).durable.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(format!("cannot look for files of container '{id}'"), &error)),
        Ok(_) => Err(exists(format!("the files of an earlier container '{id}' are still there"))
            .with_hint("Its record is damaged, see: container system logs".to_owned())),
    }
}

/// Both, or none. A directory that was never made, or is renamed already, is no error.
pub(super) fn directories(directories: &Directories, from: &str, to: &str) -> Result<(), ApiError> {
    durable(directories, from, to)?;
    let (old, new) = (directories.container(from).runtime, directories.container(to).runtime);
    match std::fs::rename(&old, &new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // The caller goes on with the old name.
            durable(directories, to, from)?;
            Err(failed(format!("cannot rename the sockets of container '{from}'"), &error))
        }
        _ => Ok(()),
    }
}

/// Durable when it returns: only then may the record forget the old name.
fn durable(directories: &Directories, from: &str, to: &str) -> Result<(), ApiError> {
    let (old, new) = (directories.container(from).durable, directories.container(to).durable);
    let renamed = match std::fs::rename(&old, &new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            File::open(directories.containers()).and_then(|parent| parent.sync_all()).inspect_err(|_| {
                // The caller goes on with the old name.
                if let Err(error) = std::fs::rename(&new, &old) {
                    tracing::error!("cannot rename '{}' back: {error}", new.display());
                }
            })
        }
    };
    renamed.map_err(|error| failed(format!("cannot rename the files of container '{from}'"), &error))
}
