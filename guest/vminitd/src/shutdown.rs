//! The end of the guest.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::system::{RebootCommand, reboot};

/// A process in uninterruptible sleep is not worth more of the user's time.
const KILL_TIMEOUT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Kills everything but PID 1 and waits for the given children.
pub(crate) fn end_processes(pidfds: Vec<OwnedFd>) {
    // SAFETY: sends a signal; as PID 1 of the guest this reaches all its processes but itself.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    for pidfd in pidfds {
        let mut descriptors = [PollFd::new(&pidfd, PollFlags::IN)];
        if matches!(poll(&mut descriptors, Some(&KILL_TIMEOUT)), Ok(count) if count > 0) {
            // Reaping an exited child cannot fail in a way that matters here.
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// Gives up the last reference to the container's mount namespace, and with it to the overlay and the
/// ext4 below. The sync is for what a stuck process still holds.
pub(crate) fn unmount(mount_namespace: Option<OwnedFd>) {
    drop(mount_namespace);
    rustix::fs::sync();
}

/// Ends the guest.
pub(crate) fn power_off() -> ! {
    loop {
        // Returns only on failure, and PID 1 has nothing else to do then.
        let _ = reboot(RebootCommand::PowerOff);
        let _ = poll(&mut [], Some(&KILL_TIMEOUT));
    }
}
