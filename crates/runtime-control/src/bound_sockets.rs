//! Which socket files a helper has made outside its own directories, so that they can be removed after
//! it died. Files are known by device and inode: what somebody else put there later stays.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Socket files on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BoundSockets {
    files: Vec<BoundSocket>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BoundSocket {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl BoundSockets {
    /// Adds a socket that was just bound.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let path = path.to_owned();
        self.files.push(BoundSocket { path, device: metadata.dev(), inode: metadata.ino() });
        Ok(())
    }

    /// Writes the record.
    ///
    /// # Errors
    /// The file cannot be written; an earlier one is then untouched.
    pub fn save(&self, record: &Path) -> io::Result<()> {
        let temporary = record.with_extension("json.tmp");
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(&temporary, record)
    }

    /// Removes the files; goes on when one cannot be removed.
    ///
    /// # Errors
    /// The first file that could not be removed.
    pub fn remove(&self) -> io::Result<()> {
        self.files.iter().map(BoundSocket::remove).fold(Ok(()), Result::and)
    }

    /// Removes what a record names, and then the record. Nothing to do where there is none.
    ///
    /// # Errors
    /// The record is damaged or a file cannot be removed.
    pub fn remove_recorded(record: &Path) -> io::Result<()> {
        let bytes = match fs::read(record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        serde_json::from_slice::<Self>(&bytes)?.remove()?;
        fs::remove_file(record)
    }
}

impl BoundSocket {
    fn remove(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == (self.device, self.inode) => {
                fs::remove_file(&self.path)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // Gone, or another file by now.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn f15_only_own_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (own, foreign) = (folder.path().join("own"), folder.path().join("foreign"));
        let record = folder.path().join("sockets.json");
        let mut bound = BoundSockets::default();
        for path in [&own, &foreign] {
            drop(UnixListener::bind(path).unwrap());
            bound.add(path).unwrap();
        }
        bound.save(&record).unwrap();
        fs::rename(&foreign, folder.path().join("elsewhere")).unwrap();
        fs::write(&foreign, b"of somebody else").unwrap();
        BoundSockets::remove_recorded(&record).unwrap();
        assert!(!own.exists() && !record.exists());
        assert_eq!(fs::read(&foreign).unwrap(), b"of somebody else");
        BoundSockets::remove_recorded(&record).unwrap();
    }
}
