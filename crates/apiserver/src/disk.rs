//! Writable disks of containers: clones of one formatted, empty, sparse ext4 file.
//!
//! Formatting takes 20 ms, a clone well under one: the template's few blocks are kept in memory and
//! written into a new sparse file.

mod clone;
mod template;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::OnceCell;

use template::Template;

pub(crate) use template::find_program;

/// Why there is no disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum DiskError {
    /// mke2fs(8) is not there or cannot be executed.
    #[error("cannot run mke2fs, which the package e2fsprogs contains")]
    RunFormatter(#[source] std::io::Error),
    /// mke2fs(8) failed.
    #[error("mke2fs could not format '{}': {output}", path.display())]
    Format {
        /// The template.
        path: PathBuf,
        /// What it said.
        output: String,
    },
    /// The template could not be created, read or put in place.
    #[error("cannot {operation} disk template '{}'", path.display())]
    Template {
        /// What failed.
        operation: &'static str,
        /// The template.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The container's disk could not be written.
    #[error("cannot create disk '{}'", path.display())]
    Clone {
        /// The disk.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The daemon shuts down.
    #[error("the disk was not created because the service shuts down")]
    Interrupted,
}

/// Makes disks.
#[derive(Debug)]
pub(crate) struct Disks {
    folder: PathBuf,
    length_bytes: u64,
    template: OnceCell<Arc<Template>>,
}

impl Disks {
    pub(crate) fn new(folder: PathBuf, length_bytes: u64) -> Self {
        Self { folder, length_bytes, template: OnceCell::new() }
    }

    /// Makes the template if it is not there yet, so that the first container need not wait for it.
    pub(crate) async fn prepare(&self) -> Result<(), DiskError> {
        self.template().await.map(drop)
    }

    /// Creates the disk `path` unless it exists; true if it did. Never leaves half a disk under that
    /// name, as long as the power stays on: see [`sync_later`].
    pub(crate) async fn ensure(&self, path: &Path) -> Result<bool, DiskError> {
        if path.exists() {
            return Ok(false);
        }
        let template = Arc::clone(self.template().await?);
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || clone::create(&template, &path))
            .await
            .map_err(|_| DiskError::Interrupted)??;
        Ok(true)
    }

    async fn template(&self) -> Result<&Arc<Template>, DiskError> {
        self.template
            .get_or_try_init(|| async {
                let (folder, length_bytes) = (self.folder.clone(), self.length_bytes);
                tokio::task::spawn_blocking(move || Template::open_or_create(&folder, length_bytes))
                    .await
                    .map_err(|_| DiskError::Interrupted)?
                    .map(Arc::new)
            })
            .await
    }
}

/// Makes a new disk survive a power cut. Beside the boot of its container: nothing of the user's is on
/// it yet, and a container that is lost with the power can be started from an empty disk again.
pub(crate) fn sync_later(path: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = std::fs::File::open(&path).and_then(|file| file.sync_all()) {
            tracing::warn!("cannot sync '{}': {error}", path.display());
        }
    });
}
