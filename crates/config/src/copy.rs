//! The file of the user, and the copy by which the services go on.
//!
//! The user may edit the file at any time; the services go by what it was when they started, and show so.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::document::Document;
use crate::error::ConfigError;

/// Far more than all keys with comments take.
const MAXIMUM_FILE_BYTES: u64 = 1 << 20;
const READ_ONLY: u32 = 0o400;

/// The document of this file; `None` if there is no file.
///
/// # Errors
/// [`ConfigError`]
pub fn read(path: &Path) -> Result<Option<Document>, ConfigError> {
    read_text(path)?.map(|text| Document::parse(path, &text)).transpose()
}

/// Checks the user's file and puts a read-only copy in place; no file, no copy.
///
/// # Errors
/// [`ConfigError`]; the earlier copy then stays.
pub fn publish_copy(original: &Path, copy: &Path) -> Result<Option<Document>, ConfigError> {
    let failed = |source| ConfigError::Write { path: copy.to_owned(), source };
    let Some(text) = read_text(original)? else {
        return match fs::remove_file(copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(None),
        };
    };
    let document = Document::parse(original, &text)?;
    replace(copy, &text).map_err(failed)?;
    Ok(Some(document))
}

fn read_text(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    // A pipe in the place of the file must not hold up the start.
    let file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAXIMUM_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAXIMUM_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), maximum_bytes: MAXIMUM_FILE_BYTES });
    }
    Ok(Some(text))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(READ_ONLY))?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_follows_the_file_and_survives_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let (original, copy) =
            (folder.path().join("config.toml"), folder.path().join("app/config/config.toml"));
        assert_eq!(publish_copy(&original, &copy).unwrap(), None);
        assert!(!copy.exists());

        fs::write(&original, "[container]\ncpus = 3\n").unwrap();
        let document = publish_copy(&original, &copy).unwrap().unwrap();
        assert_eq!(document.path(), original);
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, READ_ONLY);

        fs::write(&original, "[container]\ncpus = x\n").unwrap();
        assert!(publish_copy(&original, &copy).is_err());
        assert_eq!(fs::read_to_string(&copy).unwrap(), "[container]\ncpus = 3\n");

        fs::write(&original, "[container]\ncpus = 4\n").unwrap();
        publish_copy(&original, &copy).unwrap().unwrap();
        assert!(read(&copy).unwrap().is_some());

        fs::remove_file(&original).unwrap();
        publish_copy(&original, &copy).unwrap();
        assert!(!copy.exists());
    }

    #[test]
    fn a_huge_file_and_a_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "#".repeat(2 << 20)).unwrap();
        assert!(matches!(read(&path), Err(ConfigError::TooLarge { .. })));
        assert!(matches!(read(folder.path()), Err(ConfigError::Read { .. })));
    }
}
