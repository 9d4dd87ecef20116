//! Files that the host generates, on a tmpfs, ready to be bound over the image's own.

use bulkhead_guest_protocol::messages::GeneratedFile;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use thiserror::Error;

use crate::mounts::{self, MountSource, PreparedMount};

/// A file could not be prepared.
#[derive(Debug, Error)]
#[error("cannot generate {path:?}")]
pub(crate) struct GeneratedFileError {
    path: String,
    #[source]
    source: Errno,
}

/// Writes the files and returns the mounts that put them in place.
pub(crate) fn prepare(files: &[GeneratedFile]) -> Result<Vec<PreparedMount>, GeneratedFileError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tmpfs", c"/files", c"tmpfs", flags, c"mode=755,size=16m")
        .map_err(|source| GeneratedFileError { path: files[0].path.clone(), source })?;
    files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            prepare_one(index, file).map_err(|source| GeneratedFileError { path: file.path.clone(), source })
        })
        .collect()
}

fn prepare_one(index: usize, file: &GeneratedFile) -> Result<PreparedMount, Errno> {
    if !file.path.starts_with('/') {
        return Err(Errno::INVAL);
    }
    let path = format!("/files/{index}");
    let mode = if file.mode == 0 { 0o644 } else { file.mode & 0o777 };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let output = openat(CWD, path.as_str(), flags, Mode::from_raw_mode(mode))?;
    let mut contents = file.contents.as_slice();
    while !contents.is_empty() {
        let count = rustix::io::write(&output, contents)?;
        contents = contents.get(count..).unwrap_or_default();
    }
    let source = MountSource::Tree(mounts::clone_of(&path)?);
    Ok(PreparedMount { source, destination: file.path.clone(), propagation: None })
}
