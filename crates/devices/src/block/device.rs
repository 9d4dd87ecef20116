//! The block device and its configuration

use std::io;
use std::sync::Arc;

use super::content::DiskContent;
use super::disk::Disk;
use super::{BlockStatistics, Extent};
use crate::{DeviceEnd, DeviceThread, Frontend};

/// What a disk consists of.
#[derive(Debug, Clone)]
pub struct BlockConfiguration {
    /// Name of the thread, at most 15 bytes are shown by the kernel.
    pub name: String,
    /// The disk's content, in order.
    pub extents: Vec<Extent>,
    /// Refuse every write, and tell the guest so.
    pub read_only: bool,
    /// What the guest sees in `/sys/block/vd*/serial`, padded with zeroes.
    pub serial: [u8; 20],
}

/// Why a disk cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// There is no extent.
    #[error("disk {name} has no content")]
    Empty {
        /// Name of the disk.
        name: String,
    },
    /// An extent's length is zero or not a multiple of 512 bytes, or all lengths together exceed 2^63.
    #[error("extent {index} of disk {name} has the impossible length of {length_bytes} bytes")]
    Length {
        /// Name of the disk.
        name: String,
        /// Position of the extent.
        index: usize,
        /// Its length.
        length_bytes: u64,
    },
    /// The thread could not be started.
    #[error("cannot start the thread of disk {name}")]
    Spawn {
        /// Name of the disk.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A disk being served. Dropping it leaves the disk in service.
#[derive(Debug)]
pub struct BlockDevice {
    thread: DeviceThread,
    statistics: Arc<BlockStatistics>,
}

impl BlockDevice {
    /// Starts to serve a disk to `frontend`.
    ///
    /// # Errors
    /// A [`BlockError`] if the configuration is impossible or the thread cannot be started.
    pub fn spawn(
        frontend: impl Into<Frontend>,
        configuration: BlockConfiguration,
    ) -> Result<Self, BlockError> {
        let BlockConfiguration { name, extents, read_only, serial } = configuration;
        let statistics = Arc::new(BlockStatistics::default());
        let content = DiskContent::new(&name, extents)?;
        let disk = Disk::new(name.clone(), content, read_only, serial, Arc::clone(&statistics));
        let thread = DeviceThread::spawn(&name, frontend.into(), move |_epoll| disk)
            .map_err(|source| BlockError::Spawn { name, source })?;
        Ok(Self { thread, statistics })
    }

    /// The device's thread: wait for its end, stop it.
    #[must_use]
    pub fn thread(&self) -> &DeviceThread {
        &self.thread
    }

    /// Blocks until the monitor has disconnected or the device was stopped.
    #[must_use]
    pub fn wait(self) -> DeviceEnd {
        self.thread.wait()
    }

    /// Counters, valid also after the device has ended.
    #[must_use]
    pub fn statistics(&self) -> Arc<BlockStatistics> {
        Arc::clone(&self.statistics)
    }
}
