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
        let folder = Path::new(REGISTRY).join(inode.to_string());
        let failed = |source| UplinkError::Registry { path: folder.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let metadata = fs::symlink_metadata(&folder).map_err(failed)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(failed(io::ErrorKind::PermissionDenied.into()));
        }
        Ok(Self { folder })
    }

    /// Keeps other instances away until it is dropped.
    pub(super) fn lock(&self) -> Result<File, UplinkError> {
        let path = self.folder.join("lock");
        let failed = |source| UplinkError::Registry { path: path.clone(), source };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(lock)
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
