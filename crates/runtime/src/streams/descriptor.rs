//! Reading and writing a client's descriptor without ever blocking in it.
//!
//! poll(2) alone does not do: a terminal that has room for one byte is writable, and a write of two
//! blocks. Pipes and terminals are therefore opened once more through /proc, which gives an open file
//! description of our own that may be non-blocking. Sockets have a flag for each call. Files and all
//! else do not block for long.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::PIPE_BUF;
use rustix::termios::isatty;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// A descriptor and how to keep from blocking in it.
#[derive(Debug)]
pub(super) struct ClientDescriptor {
    descriptor: OwnedFd,
    kind: Kind,
    terminal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Non-blocking by itself, or never blocking.
    Plain,
    Socket,
    /// A pipe or terminal that could not be opened again, as one of another user: a pipe that is
    /// writable takes `PIPE_BUF` bytes without blocking (pipe(7)), a terminal usually does.
    Careful,
}

impl ClientDescriptor {
    pub(super) fn new(descriptor: OwnedFd, direction: Direction) -> Self {
        let kind = fstat(&descriptor).map(|status| FileType::from_raw_mode(status.st_mode));
        // Asked now: one that has hung up denies it.
        let terminal = isatty(&descriptor);
        let (descriptor, kind) = match kind {
            Ok(FileType::Socket) => (descriptor, Kind::Socket),
            Ok(FileType::Fifo) => reopen(descriptor, direction),
            _ if terminal => reopen(descriptor, direction),
            _ => (descriptor, Kind::Plain),
        };
        Self { descriptor, kind, terminal }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether it is a terminal no more.
    pub(super) fn has_hung_up(&self) -> bool {
        self.terminal && !isatty(&self.descriptor)
    }

    /// `WOULDBLOCK` means that poll(2) will tell when to try again.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.kind {
            Kind::Plain => rustix::io::write(&self.descriptor, bytes),
            Kind::Socket => send(&self.descriptor, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Kind::Careful => {
                let mut poll = [rustix::event::PollFd::new(&self.descriptor, rustix::event::PollFlags::OUT)];
                if rustix::event::poll(&mut poll, Some(&rustix::event::Timespec::default()))? == 0 {
                    return Err(Errno::WOULDBLOCK);
                }
                rustix::io::write(&self.descriptor, &bytes[..bytes.len().min(PIPE_BUF)])
            }
        }
    }

    /// Call when poll(2) says that there is something.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.kind {
            Kind::Socket => recv(&self.descriptor, buffer, RecvFlags::DONTWAIT).map(|(count, _)| count),
            Kind::Plain | Kind::Careful => rustix::io::read(&self.descriptor, buffer),
        }
    }
}

fn reopen(descriptor: OwnedFd, direction: Direction) -> (OwnedFd, Kind) {
    let access = match direction {
        Direction::Read => OFlags::RDONLY,
        Direction::Write => OFlags::WRONLY,
    };
    // NOCTTY: this process leads a session and would take the terminal for its own.
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match open(format!("/proc/self/fd/{}", descriptor.as_raw_fd()), flags, Mode::empty()) {
        Ok(descriptor) => (descriptor, Kind::Plain),
        Err(_) => (descriptor, Kind::Careful),
    }
}

impl AsFd for ClientDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
