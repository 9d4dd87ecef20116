//! Which process is which: process ids are reused, so they are never trusted alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use bulkhead_state::HelperIdentity;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A helper that cannot be mistaken for another process.
#[derive(Debug)]
pub(crate) struct HelperProcess {
    pub(crate) identity: HelperIdentity,
    pidfd: OwnedFd,
}

impl HelperProcess {
    pub(crate) fn new(identity: HelperIdentity, pidfd: OwnedFd) -> Self {
        Self { identity, pidfd }
    }

    /// The process of this identity, if it still lives.
    pub(crate) fn find(identity: &HelperIdentity) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(identity.pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Compared after the descriptor was opened: it then stands for this very process.
        (of(identity.pid).ok()? == *identity).then(|| Self { identity: identity.clone(), pidfd })
    }

    /// SIGKILL; its VM ends with it.
    pub(crate) fn kill(&self) {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(pid = self.identity.pid, "cannot kill runtime helper: {error}"),
        }
    }

    /// Waits until it has ended; false when it did not within `limit`.
    pub(crate) async fn wait(&self, limit: Duration) -> bool {
        // pidfd_open(2): readable once the process has terminated.
        // SAFETY: the borrowed descriptor stays open as long as `self`, which outlives it, and a
        // `BorrowedFd` always names the same one.
        let registered = unsafe { AsyncFd::register_with_interest(self.pidfd.as_fd(), Interest::READABLE) };
        let Ok(pidfd) = registered else { return false };
        tokio::time::timeout(limit, pidfd.readable()).await.is_ok_and(|ready| ready.is_ok())
    }
}

/// The identity of a live process.
pub(crate) fn of(pid: u32) -> io::Result<HelperIdentity> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let start_time_ticks = start_time_ticks(&text).ok_or(io::ErrorKind::InvalidData)?;
    Ok(HelperIdentity { pid, start_time_ticks, boot_id: boot_id()?.to_owned() })
}

/// Field 22, counted after the command's closing parenthesis: the command may hold anything.
fn start_time_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(22 - 3)?.parse().ok()
}

fn boot_id() -> io::Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(known);
    }
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_a_reused_process_id_is_not_the_helper() {
        let own = of(std::process::id()).unwrap();
        assert!(HelperProcess::find(&own).is_some());
        let earlier = HelperIdentity { start_time_ticks: own.start_time_ticks - 1, ..own.clone() };
        assert!(HelperProcess::find(&earlier).is_none());
        let before_reboot = HelperIdentity { boot_id: "other".to_owned(), ..own };
        assert!(HelperProcess::find(&before_reboot).is_none());
    }

    #[test]
    fn commands_with_parentheses_are_skipped() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(start_time_ticks(stat), Some(4242));
    }
}
