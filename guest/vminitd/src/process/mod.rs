//! Processes of the container.

pub(crate) mod child;
pub(crate) mod clone;
mod command;
pub(crate) mod container;
mod executable;
mod initializer;
pub(crate) mod made_places;
mod report;
pub(crate) mod spawn;
pub(crate) mod stdio;
pub(crate) mod stopped;
pub(crate) mod terminal;

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions, waitid};

/// A process that PID 1 started and has not yet reported the end of.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) number: u32,
    /// Gone once the process was reaped.
    pub(crate) pidfd: Option<OwnedFd>,
    /// Set with the reaping; the streams may still be busy.
    pub(crate) ended: Option<Ended>,
    /// The container's processes stand still as long as it lives.
    pub(crate) freezes: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit_code: u32,
    pub(crate) signal: u32,
}

impl Running {
    /// Takes the exit status if there is one.
    pub(crate) fn reap(&mut self) -> bool {
        let Some(pidfd) = &self.pidfd else { return false };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::PidFd(pidfd.as_fd()), options) else { return false };
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        self.ended = Some(Ended {
            exit_code: number(status.exit_status()),
            signal: number(status.terminating_signal()),
        });
        self.pidfd = None;
        true
    }
}
