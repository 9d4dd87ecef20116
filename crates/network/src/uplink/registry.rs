//! `/run/bulkhead-uplinks`: which instance has which uplink.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{UplinkError, address, remove};
use crate::netlink::Socket;

/// Shared by all instances on the host, hence no directory of this installation.
const REGISTRY: &str = "/run/bulkhead-uplinks";

/// The directory of uplinks of one host namespace.
#[derive(Debug)]
pub(super) struct Registry {
    folder: PathBuf,
}

impl Registry {
    pub(super) fn open(host_namespace: &OwnedFd) -> Result<Self, UplinkError> {
        let inode =
            rustix::fs::fstat(host_namespace).map_err(|error| UplinkError::Namespace(error.into()))?.st_ino;
        Ok(Self { folder: Path::new(REGISTRY).join(inode.to_string()) })
    }

    /// Keeps other instances away until it is dropped.
    pub(super) fn lock(&self) -> Result<File, UplinkError> {
        loop {
            match self.try_lock() {
                Ok(Some(lock)) => return Ok(lock),
                // The last one left meanwhile, and took all away.
                Ok(None) => {}
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(UplinkError::Registry { path: self.folder.clone(), source }),
            }
        }
    }

    fn try_lock(&self) -> io::Result<Option<File>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let metadata = fs::symlink_metadata(&self.folder)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let path = self.lock_path();
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        let is_there = fs::symlink_metadata(&path)?.ino() == lock.metadata()?.ino();
        Ok(is_there.then_some(lock))
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Removes the directory if nobody has an uplink any more; to be called by who has the lock.
    pub(super) fn remove_if_unused(&self) -> Result<(), UplinkError> {
        if !self.entries()?.is_empty() || self.forwarding_marker().exists() {
            return Ok(());
        }
        let path = self.lock_path();
        fs::remove_file(&path).map_err(|source| UplinkError::Registry { path, source })?;
        // Not if somebody comes right now; nor the one around it, if there are others.
        drop(fs::remove_dir(&self.folder).and_then(|()| fs::remove_dir(REGISTRY)));
        Ok(())
    }

    /// Numbers in use, dead or alive.
    pub(super) fn entries(&self) -> Result<Vec<u32>, UplinkError> {
        let failed = |source| UplinkError::Registry { path: self.folder.clone(), source };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(numbers)
    }

    /// Removes what processes left behind that did not end in good order; returns the number of the one
    /// whose place `owner` takes.
    pub(super) fn remove_dead(
        &self,
        owner: &Path,
        links: &mut Socket,
        filters: &mut Socket,
    ) -> Result<Option<u32>, UplinkError> {
        let mut earlier = None;
        for number in self.entries()? {
            let path = self.folder.join(number.to_string());
            let failed = |source| UplinkError::Registry { path: path.clone(), source };
            let entry = File::open(&path).map_err(failed)?;
            if rustix::fs::flock(&entry, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let dead = fs::read(&path).unwrap_or_default();
            if dead == owner.as_os_str().as_encoded_bytes() {
                earlier = Some(number);
            }
            let dead = String::from_utf8_lossy(&dead);
            tracing::warn!(number, owner = %dead, "removing the uplink of an instance that died");
            remove(&address::device(number), links, filters)?;
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(earlier)
    }

    pub(super) fn claim(&self, number: u32, owner: &Path) -> Result<(PathBuf, File), UplinkError> {
        let path = self.folder.join(number.to_string());
        let failed = |source| UplinkError::Registry { path: path.clone(), source };
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(failed)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        fs::write(&path, owner.as_os_str().as_encoded_bytes()).map_err(failed)?;
        Ok((path, file))
    }

    /// Exists while packet forwarding is on because of us.
    pub(super) fn forwarding_marker(&self) -> PathBuf {
        self.folder.join("forwarding")
    }
}
