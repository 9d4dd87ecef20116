//! What can go wrong with credentials. No message holds a secret.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why credentials could not be read or kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file could not be read, written or renamed.
    #[error("cannot {operation} '{}'", path.display())]
    File {
        /// `read`, `write`, …
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("'{}' is not valid: {reason}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Without the file's content.
        reason: String,
    },
    /// A credential helper could not be run.
    #[error("cannot run the credential helper '{program}'")]
    RunHelper {
        /// `docker-credential-…`
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A credential helper failed.
    #[error("the credential helper '{program}' failed: {reason}")]
    Helper {
        /// `docker-credential-…`
        program: String,
        /// What it said, in one line, or what is wrong with that.
        reason: String,
    },
}
