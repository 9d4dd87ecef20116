//! Gets a stream's thread out of poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// An eventfd. Whoever calls sets what there is to see before.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The descriptor is ready or broken; the next call on it will tell.
    Ready,
    /// Somebody called: look at everything again.
    Woken,
    /// Neither in time.
    TimedOut,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn call(&self) {
        // Full after 2^64 - 2 calls, and then readable as well.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits for a call alone.
    pub(super) fn wait(&self) {
        let mut descriptors = [PollFd::new(&self.0, PollFlags::IN)];
        let _ = poll(&mut descriptors, None);
        self.reset();
    }

    /// Waits for `descriptor` or a call.
    pub(super) fn wait_or(
        &self,
        descriptor: BorrowedFd<'_>,
        flags: PollFlags,
        timeout: Option<&Timespec>,
    ) -> Waited {
        let mut descriptors = [
            PollFd::from_borrowed_fd(descriptor, flags),
            PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN),
        ];
        match poll(&mut descriptors, timeout) {
            Ok(0) => Waited::TimedOut,
            Err(Errno::INTR) => Waited::Woken,
            _ if !descriptors[1].revents().is_empty() => {
                self.reset();
                Waited::Woken
            }
            _ => Waited::Ready,
        }
    }

    fn reset(&self) {
        let mut count = [0; 8];
        // Nothing to reset is fine.
        let _ = rustix::io::read(&self.0, &mut count);
    }
}
