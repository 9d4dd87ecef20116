//! What can go wrong with the database.

use std::path::PathBuf;

use thiserror::Error;

/// Why state could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be opened or is no database.
    #[error("cannot open the state database '{}'", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer program wrote it.
    #[error(
        "the state database '{}' has version {found}, this program knows versions up to {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the state database to version {version}")]
    Migrate {
        /// The step that failed.
        version: usize,
        /// The reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A table could not be read.
    #[error("cannot read the table {table} of the state database")]
    Read {
        /// Its name.
        table: &'static str,
        /// The reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A record could not be written.
    #[error("cannot record {object} in the state database")]
    Write {
        /// What was to be recorded.
        object: String,
        /// The reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A record could not be turned into JSON.
    #[error("cannot encode the record of {object}")]
    Encode {
        /// What was to be recorded.
        object: String,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
    /// The writer thread could not be started.
    #[error("cannot start the thread that writes the state database")]
    Thread(#[source] std::io::Error),
    /// The writer thread has ended.
    #[error("the state database is closed")]
    Closed,
}

impl StateError {
    /// Whether the file system that holds the database is full.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        let (Self::Open { source, .. }
        | Self::Migrate { source, .. }
        | Self::Read { source, .. }
        | Self::Write { source, .. }) = self
        else {
            return false;
        };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}
