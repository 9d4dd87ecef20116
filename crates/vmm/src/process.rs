//! A running monitor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use crate::StartError;
use crate::jail::Report;

/// A monitor's process. Dropping it leaves it running.
#[derive(Debug)]
pub struct VmmProcess {
    pid: Pid,
    pidfd: OwnedFd,
    /// Of the jail; gone once it was read.
    report: Option<Report>,
}

/// How a monitor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmmEnd {
    /// By exit(2) with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl VmmProcess {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd, report: Report) -> Self {
        Self { pid, pidfd, report: Some(report) }
    }

    /// Waits until the monitor executes. Its jail is being built while the caller does other things.
    ///
    /// # Errors
    /// [`StartError::Jail`]: there is no monitor, and nothing is left of it.
    pub fn confirm(&mut self) -> Result<(), StartError> {
        let Some(error) = self.report.take().and_then(Report::read) else { return Ok(()) };
        // It has ended or is about to; only its zombie is left.
        let _ = self.wait();
        Err(StartError::Jail(error))
    }

    /// Process id as this process sees it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Ends it and all its children at once; it is the init of their PID namespace. Not an error when
    /// it has ended already.
    ///
    /// # Errors
    /// pidfd_send_signal(2) failed.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end and reaps it. Once only.
    ///
    /// # Errors
    /// waitid(2) failed.
    pub fn wait(&self) -> io::Result<VmmEnd> {
        let status =
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        Ok(status.as_ref().map_or(VmmEnd::Exited(0), VmmEnd::from))
    }
}

impl From<&WaitIdStatus> for VmmEnd {
    fn from(status: &WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or(0)),
        }
    }
}
