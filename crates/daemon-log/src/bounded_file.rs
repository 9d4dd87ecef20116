//! A file that is put aside when it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Appends; holds at most twice its maximum, in two files.
#[derive(Debug)]
pub struct BoundedFile {
    path: PathBuf,
    file: File,
    length_bytes: u64,
    maximum_bytes: u64,
}

impl BoundedFile {
    /// Goes on with the file, or makes it.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, maximum_bytes: u64) -> io::Result<Self> {
        let file = append_to(path)?;
        let length_bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length_bytes, maximum_bytes })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut old = self.path.as_os_str().to_owned();
        old.push(".1");
        fs::rename(&self.path, old)?;
        self.file = append_to(&self.path)?;
        self.length_bytes = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Write for BoundedFile {
    /// One event comes in one call, and stays in one file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let would_be = self.length_bytes.saturating_add(bytes.len() as u64);
        if self.length_bytes > 0 && would_be > self.maximum_bytes {
            // Somebody may have removed the file: it is made anew all the same.
            match self.rotate() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.file = append_to(&self.path)?;
                    self.length_bytes = 0;
                }
                other => other?,
            }
        }
        let count = self.file.write(bytes)?;
        self.length_bytes = self.length_bytes.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f53_a_flood_fills_two_files_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.log");
        fs::write(&path, "of an earlier run\n").unwrap();
        let mut file = BoundedFile::open(&path, 100).unwrap();
        for number in 0..1000 {
            file.write_all(format!("event {number:03}\n").as_bytes()).unwrap();
        }
        let lengths: Vec<u64> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(lengths.len(), 2);
        assert!(lengths.iter().all(|length| *length <= 100), "{lengths:?}");
        let old = fs::read_to_string(folder.path().join("daemon.log.1")).unwrap();
        let new = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = old.lines().chain(new.lines()).collect();
        assert_eq!(lines.last(), Some(&"event 999"));
        // Nothing is lost in between.
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{lines:?}");

        fs::remove_file(&path).unwrap();
        for _ in 0..20 {
            file.write_all(b"after the removal\n").unwrap();
        }
        assert!(path.exists());
    }
}
