//! The disk of a volume.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::options::VolumeOptions;
use crate::disk::find_program;

/// As for the disks of containers, but with two backup superblocks: a volume is worth repairing.
const FEATURES: &str = "ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super2,large_file,huge_file,\
                        dir_nlink,extra_isize,metadata_csum";
/// Below, the file system has blocks of 1 KiB, for whole ones would waste it.
const SMALL_BYTES: u64 = 64 << 20;
const MEBIBYTE: u64 = 1 << 20;

/// Why there is no disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum FormatError {
    /// Its directory could not be made.
    #[error("cannot create '{}'", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file could not be made.
    #[error("cannot create disk '{}'", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A program of e2fsprogs could not be executed.
    #[error("cannot run {program}, which the package e2fsprogs contains")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("{program} could not format '{}': {output}", path.display())]
    Format { program: &'static str, path: PathBuf, output: String },
    /// The disk could not be made durable.
    #[error("cannot write disk '{}'", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Makes the directory of a volume, which only we may enter; returns it and the one of all volumes.
pub(super) fn make_directory_of(path: &Path) -> Result<(&Path, &Path), FormatError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let volumes = directory.parent().unwrap_or(directory);
    // What is there already is some volume's: nothing of it is touched.
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(volumes)
        .and_then(|()| DirBuilder::new().mode(0o700).create(directory));
    made.map_err(|source| FormatError::Directory { path: directory.to_owned(), source })?;
    Ok((directory, volumes))
}

/// Makes a formatted, empty disk that survives a power cut. Nothing is left when it fails.
pub(super) fn create(path: &Path, options: VolumeOptions) -> Result<(), FormatError> {
    let (directory, _) = make_directory_of(path)?;
    let formatted = make(path, options);
    if formatted.is_err() {
        // The failure that is told matters more.
        drop(std::fs::remove_dir_all(directory));
    }
    formatted
}

fn make(path: &Path, options: VolumeOptions) -> Result<(), FormatError> {
    let file = create_file(path, options.size_bytes)
        .map_err(|source| FormatError::Create { path: path.to_owned(), source })?;
    let small = options.size_bytes < SMALL_BYTES;
    let mut command = program("mke2fs");
    command.args(["-q", "-F", "-I", "256", "-i", "16384", "-m", "0", "-G", "65536"]);
    command.args(["-b", if small { "1024" } else { "4096" }]);
    command.args(["-E", "root_owner=0:0,lazy_journal_init=1,num_backup_sb=2"]);
    match journal_mebibytes(options) {
        Some(mebibytes) => {
            command.args(["-O", &format!("none,has_journal,{FEATURES}"), "-J", &format!("size={mebibytes}")])
        }
        None => command.args(["-O", &format!("none,{FEATURES}")]),
    };
    run("mke2fs", command.arg(path), path)?;
    // A directory in the way of databases, which want an empty one. Only fsck misses it, and makes it anew.
    run("debugfs", program("debugfs").args(["-w", "-R", "rmdir lost+found"]).arg(path), path)?;
    let synced = file
        .sync_all()
        .and_then(|()| sync_directory(path.parent()))
        .and_then(|()| sync_directory(path.parent().and_then(Path::parent)));
    synced.map_err(|source| FormatError::Write { path: path.to_owned(), source })
}

fn create_file(path: &Path, length_bytes: u64) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_len(length_bytes)?;
    Ok(file)
}

fn sync_directory(path: Option<&Path>) -> io::Result<()> {
    path.map_or(Ok(()), |path| File::open(path)?.sync_all())
}

/// A journal is zeroed by its first use, and then occupies its length on the host.
fn journal_mebibytes(options: VolumeOptions) -> Option<u64> {
    if let Some(bytes) = options.journal_bytes {
        return Some(bytes.div_ceil(MEBIBYTE));
    }
    match options.size_bytes / MEBIBYTE {
        0..4 => None,
        4..64 => Some(1),
        64..512 => Some(4),
        512..4096 => Some(16),
        _ => Some(64),
    }
}

fn program(name: &'static str) -> Command {
    let mut command = Command::new(find_program(name));
    command.env_clear().env("MKE2FS_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

fn run(name: &'static str, command: &mut Command, path: &Path) -> Result<(), FormatError> {
    let output = command.output().map_err(|source| FormatError::Run { program: name, source })?;
    let text = String::from_utf8_lossy(&output.stderr);
    // debugfs succeeds whatever its command does: it says so only, after a line with its version.
    let complaint =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("debugfs 1."));
    let complaint: Vec<&str> = complaint.collect();
    if output.status.success() && (name != "debugfs" || complaint.is_empty()) {
        return Ok(());
    }
    Err(FormatError::Format { program: name, path: path.to_owned(), output: complaint.join("; ") })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn disks_of_every_size_are_sound_empty_and_sparse() {
        for size_bytes in
            [1 << 20, 4 << 20, 63 << 20, 64 << 20, 1 << 30, super::super::options::DEFAULT_BYTES]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("v/volume.img");
            create(&path, VolumeOptions { size_bytes, journal_bytes: None, shared: false }).unwrap();
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), size_bytes);
            assert!(metadata.blocks() * 512 < 4 << 20, "{size_bytes}: {} blocks", metadata.blocks());
            let check = program("e2fsck").args(["-fn"]).arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&check.stdout).into_owned();
            // 4 of the exit code are errors that were found; the missing lost+found is one to e2fsck -n.
            let errors = said.lines().filter(|line| line.contains('?') && !line.contains("lost+found"));
            assert_eq!(errors.count(), 0, "{size_bytes}: {said}");
            let list = program("debugfs").args(["-R", "ls -p /"]).arg(&path).output().unwrap();
            let names = String::from_utf8_lossy(&list.stdout).into_owned();
            assert!(!names.contains("lost+found"), "{names}");
        }
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v/volume.img");
        std::fs::create_dir(folder.path().join("v")).unwrap();
        std::fs::write(&path, "precious").unwrap();
        let error = create(&path, VolumeOptions { size_bytes: 8 << 20, journal_bytes: None, shared: false })
            .unwrap_err();
        assert!(matches!(error, FormatError::Directory { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_disk_that_cannot_be_formatted_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v/volume.img");
        let options = VolumeOptions { size_bytes: 8 << 20, journal_bytes: Some(1 << 40), shared: false };
        let error = create(&path, options).unwrap_err();
        assert!(matches!(error, FormatError::Format { program: "mke2fs", .. }), "{error}");
        assert!(!folder.path().join("v").exists());
    }
}
