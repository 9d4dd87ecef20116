//! Where the files of one container are.

use std::path::PathBuf;

use crate::layout::{PathsError, create_private};

/// The directories of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDirectories {
    /// Disk, logs, exit status.
    pub durable: PathBuf,
    /// Sockets.
    pub runtime: PathBuf,
}

impl ContainerDirectories {
    /// The writable ext4 disk.
    #[must_use]
    pub fn writable_disk(&self) -> PathBuf {
        self.durable.join("writable.ext4")
    }

    /// stdout and stderr of the container's process.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.durable.join("stdio.log")
    }

    /// Console of the VM: the guest kernel's messages.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.durable.join("console.log")
    }

    /// Log of the runtime helper itself.
    #[must_use]
    pub fn helper_log(&self) -> PathBuf {
        self.durable.join("helper.log")
    }

    /// Exit status of the last run, written by the helper before it tells anyone.
    #[must_use]
    pub fn exit_status(&self) -> PathBuf {
        self.durable.join("exit.json")
    }

    /// Which sockets its helper has made elsewhere on the host.
    #[must_use]
    pub fn published_sockets(&self) -> PathBuf {
        self.durable.join("sockets.json")
    }

    /// Control socket of the runtime helper.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// The same for a machine that only serves the container's files while it is stopped: logs and
    /// exit status of the container's own run stay as they are.
    #[must_use]
    pub fn maintenance(&self) -> Self {
        Self { durable: self.durable.join("maintenance"), runtime: self.runtime.clone() }
    }

    /// Creates both directories, private to this user.
    ///
    /// # Errors
    /// [`PathsError::Create`], [`PathsError::Foreign`]
    pub fn create(&self) -> Result<(), PathsError> {
        create_private(&self.durable)?;
        create_private(&self.runtime)
    }
}

/// Container ids may have 63 characters, too many for a socket address: FNV-1a (64 bits) of the id.
/// A collision is refused when the helper finds its control socket taken.
pub(crate) fn short_name(id: &str) -> String {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
