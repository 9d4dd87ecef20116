//! Log files of the daemons: one line for each event, and never more than two files of bounded length.
//!
//! `<name>.log` is the newest; when it is full it becomes `<name>.log.1`, in place of the one before.

mod bounded_file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bulkhead_paths::environment;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

pub use bounded_file::BoundedFile;

/// Weeks of an ordinary day; with its predecessor twice as much.
pub const MAXIMUM_FILE_BYTES: u64 = 16 << 20;

/// Why nothing is logged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot open '{}'", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// There is a subscriber already.
    #[error("cannot start logging: {0}")]
    Start(String),
}

/// Sends tracing to `<name>.log` below the log root, filtered by `CONTAINER_LOG`; reasons of panics, too.
///
/// # Errors
/// [`LogError`]
pub fn start(log_root: &Path, name: &str) -> Result<(), LogError> {
    let path = log_root.join(format!("{name}.log"));
    let file = BoundedFile::open(&path, MAXIMUM_FILE_BYTES)
        .map_err(|source| LogError::Open { path: path.clone(), source })?;
    let filter = EnvFilter::try_from_env(environment::LOG).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init()
        .map_err(|error| LogError::Start(error.to_string()))?;
    // Release builds abort on panic; without this the reason would go to a closed stderr.
    std::panic::set_hook(Box::new(|information| tracing::error!("{information}")));
    Ok(())
}
