//! Files of the store: where they are, and how they come to be.
//!
//! ```text
//! <root>/lock                          held by the process that has the store open
//!        blobs/sha256/<hex>            manifests, indexes, configurations, layers as the registry sent them
//!        layers/sha256/<hex>.erofs     layers by DiffID, ready to be attached to a VM
//!        layers/sha256/<hex>.implicit  directories of a layer that no entry described, separated by NUL
//!        diff-ids/sha256/<hex>         which DiffID a compressed layer proved to have
//!        tmp/                          what is being written; emptied when the store is opened
//! ```
//!
//! A file appears under its name only complete and synced. Compressed layers are kept so that `image save` and a
//! push reproduce the very bytes that the manifest names; recompression would give other digests.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulkhead_oci::Digest;
use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

const DIRECTORIES: [&str; 4] = ["blobs/sha256", "layers/sha256", "diff-ids/sha256", "tmp"];

/// A child of a process that is gone has the lock, flock(2), until it executes its program.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    next_temporary: AtomicU64,
    /// Keeps the lock.
    _lock: File,
}

impl Layout {
    /// Creates what is missing, takes the lock and empties `tmp/`.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        for directory in DIRECTORIES {
            let path = root.join(directory);
            let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            created.map_err(|source| StoreError::file("create", &path, source))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|source| StoreError::file("open", &path, source))?;
        let since = Instant::now();
        while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            match error {
                rustix::io::Errno::WOULDBLOCK if since.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                rustix::io::Errno::WOULDBLOCK => return Err(StoreError::Locked { path: root.to_owned() }),
                _ => return Err(StoreError::file("lock", &path, error.into())),
            }
        }
        let layout = Self { root: root.to_owned(), next_temporary: AtomicU64::new(0), _lock: lock };
        layout.sweep()?;
        Ok(layout)
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let directory = self.root.join("tmp");
        let entries =
            fs::read_dir(&directory).map_err(|source| StoreError::file("read", &directory, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| StoreError::file("read", &directory, source))?;
            let path = entry.path();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|source| StoreError::file("remove", &path, source))?;
        }
        Ok(())
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers/sha256").join(diff_id.hex() + ".erofs")
    }

    pub(crate) fn implicit(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers/sha256").join(diff_id.hex() + ".implicit")
    }

    pub(crate) fn diff_id_record(&self, digest: &Digest) -> PathBuf {
        self.root.join("diff-ids/sha256").join(digest.hex())
    }

    /// The directories that hold content, for a collection.
    pub(crate) fn content_directories(&self) -> [PathBuf; 3] {
        ["blobs/sha256", "layers/sha256", "diff-ids/sha256"].map(|directory| self.root.join(directory))
    }

    /// An empty file that vanishes unless it is published.
    pub(crate) fn temporary(&self) -> Result<TemporaryFile, StoreError> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("tmp").join(number.to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| StoreError::file("create", &path, source))?;
        Ok(TemporaryFile { file, path, published: false })
    }

    /// Publishes `bytes` under `path`, unless they are there already.
    pub(crate) fn publish_bytes(&self, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
        if fs::read(path).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        let mut temporary = self.temporary()?;
        temporary.write_all(bytes)?;
        temporary.publish(path)
    }
}

impl Layout {
    /// Writes a record that may be lost in a crash: its readers must expect it to be missing or cut short.
    pub(crate) fn write_unsynced(&self, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(bytes))
            .map_err(|source| StoreError::file("write", path, source))
    }
}

/// A file in `tmp/`.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: File,
    path: PathBuf,
    published: bool,
}

impl TemporaryFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Another handle of the same open file.
    pub(crate) fn handle(&self) -> Result<File, StoreError> {
        self.file.try_clone().map_err(|source| StoreError::file("open", &self.path, source))
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|source| StoreError::file("write", &self.path, source))
    }

    /// Syncs the file, gives it its name and syncs the directory: after a power cut it is there whole or not at all.
    pub(crate) fn publish(mut self, path: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|source| StoreError::file("sync", &self.path, source))?;
        fs::rename(&self.path, path).map_err(|source| StoreError::file("create", path, source))?;
        self.published = true;
        sync_parent(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "temporary file could not be removed");
        }
    }
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(directory) = path.parent() else { return Ok(()) };
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| StoreError::file("sync", directory, source))
}

/// Whether a file is there, and its length in bytes.
pub(crate) fn length_of(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::file("read", path, source)),
    }
}
