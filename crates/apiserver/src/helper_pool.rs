//! Runtime helpers, one of them started ahead so that a container need not wait for fork and exec.
//!
//! A helper knows nothing of its container until it gets `Start`, and ends when its socket closes
//! before that: spare ones need no care.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bulkhead_paths::Directories;
use bulkhead_runtime_control::{Connection, EventReceiver};
use rustix::process::{Pid, PidfdFlags};
use thiserror::Error;

use crate::container::identity::{self, HelperProcess};
use crate::spawn;

/// Enough that containers started one after the other always find one.
const SPARE_HELPERS: usize = 2;
/// The refill waits until the container that took the spare has booted: both want the same CPUs.
const REFILL_DELAY: Duration = Duration::from_millis(150);

/// A helper could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum HelperError {
    /// fork or exec failed.
    #[error("cannot start '{}'", program.display())]
    Spawn {
        /// The helper.
        program: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// /proc or pidfd_open(2) failed.
    #[error("cannot watch the runtime helper (process {pid})")]
    Watch {
        /// Its id.
        pid: u32,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// A helper that waits for `Start`.
#[derive(Debug)]
pub(crate) struct Helper {
    pub(crate) connection: Connection,
    pub(crate) events: EventReceiver,
    pub(crate) process: HelperProcess,
    ended: Arc<AtomicBool>,
    version: Option<Version>,
}

/// Tells a program from another that was installed in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    modified_ns: i128,
}

impl Version {
    fn of(program: &Path) -> Option<Self> {
        let metadata = program.metadata().ok()?;
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Some(Self { device: metadata.dev(), inode: metadata.ino(), modified_ns })
    }
}

/// Starts helpers.
#[derive(Debug)]
pub(crate) struct HelperPool {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    log: PathBuf,
    spare: Mutex<VecDeque<Helper>>,
    refilling: AtomicBool,
}

impl HelperPool {
    pub(crate) fn new(directories: &Directories) -> Self {
        Self {
            program: directories.helper("container-runtime-linux"),
            environment: directories.environment().into(),
            log: directories.log_root.join("container-runtime.log"),
            spare: Mutex::default(),
            refilling: AtomicBool::new(false),
        }
    }

    /// A spare helper, else a new one.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Helper, HelperError> {
        self.refill_later();
        let version = Version::of(&self.program);
        loop {
            let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match spare {
                Some(helper) if helper.ended.load(Ordering::Acquire) => {
                    tracing::warn!("a spare runtime helper has ended");
                }
                // A guest's kernel and vminitd are read at its start and would be newer than this helper.
                Some(helper) if helper.version != version => {
                    tracing::info!("a spare runtime helper is of another version than the one installed");
                }
                Some(helper) => return Ok(helper),
                None => return self.spawn(),
            }
        }
    }

    /// Starts spare helpers after a while, unless that is under way.
    pub(crate) fn refill_later(self: &Arc<Self>) {
        if self.refilling.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(REFILL_DELAY).await;
            pool.refilling.store(false, Ordering::Release);
            let missing =
                SPARE_HELPERS.saturating_sub(pool.spare.lock().unwrap_or_else(PoisonError::into_inner).len());
            for _ in 0..missing {
                match pool.spawn() {
                    Ok(helper) => {
                        pool.spare.lock().unwrap_or_else(PoisonError::into_inner).push_back(helper);
                    }
                    Err(error) => {
                        // The next container that needs one will report it.
                        tracing::warn!("{:#}", anyhow::Error::new(error));
                        return;
                    }
                }
            }
        });
    }

    fn spawn(&self) -> Result<Helper, HelperError> {
        // Before the exec: if the program is replaced in between, the helper counts as old.
        let version = Version::of(&self.program);
        let (mut child, socket) = spawn::helper(&self.program, &self.environment, &self.log)
            .map_err(|source| HelperError::Spawn { program: self.program.clone(), source })?;
        // Not reaped yet, so the id cannot have been reused.
        let pid = child.id().unwrap_or_default();
        let watched = |source| HelperError::Watch { pid, source };
        let pidfd = open_pidfd(pid).map_err(watched)?;
        let identity = identity::of(pid).map_err(watched)?;
        let ended = Arc::new(AtomicBool::new(false));
        let ended_writer = Arc::clone(&ended);
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => tracing::debug!(pid, %status, "runtime helper ended"),
                Err(error) => tracing::warn!(pid, "cannot reap runtime helper: {error}"),
            }
            ended_writer.store(true, Ordering::Release);
        });
        let (connection, events) = Connection::over(socket);
        Ok(Helper { connection, events, process: HelperProcess::new(identity, pidfd), ended, version })
    }
}

fn open_pidfd(pid: u32) -> std::io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    rustix::io::fcntl_setfd(pidfd.as_fd(), rustix::io::FdFlags::CLOEXEC)?;
    Ok(pidfd)
}
