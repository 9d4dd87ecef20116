//! The file that tells scripts a new container's id.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bulkhead_api::error::ErrorCode;

use crate::failure::Failure;

/// A new file, removed again unless an id is written into it.
#[derive(Debug)]
pub(crate) struct CidFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl CidFile {
    /// Creates the file before anything else happens; refuses an existing one.
    pub(crate) fn reserve(path: &Path) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::refused(
                ErrorCode::Exists,
                format!("container id file '{}' exists", path.display()),
            )),
            Err(error) => Err(failed(path, &error)),
        }
    }

    /// Writes the id, without a newline, as Docker does.
    pub(crate) fn write(mut self, id: &str) -> Result<(), Failure> {
        self.file.write_all(id.as_bytes()).map_err(|error| failed(&self.path, &error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written {
            // Nothing better can be done about a file that cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write container id file '{}'", path.display());
    Failure::caused_by(ErrorCode::InternalError, message, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_refused_and_a_failed_command_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        drop(CidFile::reserve(&path).unwrap());
        assert!(!path.exists());
        CidFile::reserve(&path).unwrap().write("abc").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
        assert!(CidFile::reserve(&path).is_err());
    }
}
