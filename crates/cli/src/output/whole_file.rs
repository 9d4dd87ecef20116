//! Files that exist complete or not at all.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

/// A file without a name, until it is published; a command that is killed leaves nothing.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: File,
    /// Absent for a device or a pipe, which is written as it is.
    path: Option<PathBuf>,
    /// Where the file system has no nameless files.
    temporary: Option<PathBuf>,
}

impl WholeFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(path)?;
                return Ok(Self { file, path: None, temporary: None });
            }
            _ => {}
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(CWD, directory, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => Ok(Self { file: file.into(), path: Some(path.to_owned()), temporary: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let temporary = temporary_name(path)?;
                let file = File::options().write(true).create_new(true).open(&temporary)?;
                Ok(Self { file, path: Some(path.to_owned()), temporary: Some(temporary) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it its name, in place of an earlier file.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        let Some(path) = self.path.take() else { return Ok(()) };
        if self.temporary.is_none() {
            let temporary = temporary_name(&path)?;
            let magic = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            linkat(CWD, magic.as_str(), CWD, &temporary, AtFlags::SYMLINK_FOLLOW)?;
            self.temporary = Some(temporary);
        }
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &path)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl AsFd for WholeFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed has a name that says what it is.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
    name.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.tar");
        fs::write(&path, "old").unwrap();
        let mut file = WholeFile::create(&path).unwrap();
        file.file.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(WholeFile::create(folder.path()).is_err());
        WholeFile::create(Path::new("/dev/null")).unwrap().publish().unwrap();
    }
}
