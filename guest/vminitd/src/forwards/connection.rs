//! One connection: bytes both ways, each direction with an end of its own.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::streams::Progress;

const BUFFER_BYTES: usize = 16 * 1024;
/// Rounds before others get their turn.
const ROUNDS: usize = 16;

/// A Unix socket and the stream to the host that belongs to it.
#[derive(Debug)]
pub(super) struct Connection {
    near: OwnedFd,
    far: OwnedFd,
    to_far: Direction,
    to_near: Direction,
}

/// What was read on one side and not yet taken by the other.
#[derive(Debug, Default)]
struct Direction {
    bytes: Vec<u8>,
    /// The source has no more.
    ended: bool,
    /// The target was told, or takes nothing.
    closed: bool,
}

impl Connection {
    pub(super) fn new(near: OwnedFd, far: OwnedFd) -> Self {
        Self { near, far, to_far: Direction::default(), to_near: Direction::default() }
    }

    /// One side is gone altogether: what it sent last still counts, and nothing reaches it any more.
    pub(super) fn hung_up(&mut self, far_side: bool) {
        if far_side { self.to_far.closed = true } else { self.to_near.closed = true }
    }

    /// Moves what can be moved.
    pub(super) fn pump(&mut self) -> Progress {
        for _ in 0..ROUNDS {
            let out = self.to_far.round(&self.near, &self.far);
            let back = self.to_near.round(&self.far, &self.near);
            match (out, back) {
                (Progress::Finished, Progress::Finished) => return Progress::Finished,
                (Progress::Busy, _) | (_, Progress::Busy) => {}
                _ => return Progress::Waiting,
            }
        }
        Progress::Busy
    }
}

impl Direction {
    fn round(&mut self, source: &OwnedFd, target: &OwnedFd) -> Progress {
        if self.closed {
            return Progress::Finished;
        }
        if !self.bytes.is_empty() {
            return match send(target, &self.bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.bytes.drain(..count);
                    Progress::Busy
                }
                Err(Errno::INTR) => Progress::Busy,
                Err(Errno::AGAIN) => Progress::Waiting,
                Err(_) => self.close(),
            };
        }
        if self.ended {
            // A target that is gone needs no end.
            let _ = shutdown(target, Shutdown::Write);
            return self.close();
        }
        let mut buffer = [0; BUFFER_BYTES];
        match recv(source, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => {
                self.bytes.extend_from_slice(&buffer[..count]);
                Progress::Busy
            }
            Err(Errno::INTR) => Progress::Busy,
            Err(Errno::AGAIN) => Progress::Waiting,
            // A reset ends it as well.
            _ => {
                self.ended = true;
                Progress::Busy
            }
        }
    }

    fn close(&mut self) -> Progress {
        self.closed = true;
        self.bytes = Vec::new();
        Progress::Finished
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    }

    fn read(socket: &OwnedFd) -> Result<Vec<u8>, Errno> {
        let mut buffer = [0; 64];
        rustix::io::read(socket, &mut buffer).map(|count| buffer[..count].to_vec())
    }

    #[test]
    fn a_half_closed_connection_still_answers() {
        let (program, near) = pair();
        let (far, host) = pair();
        let mut connection = Connection::new(near, far);
        rustix::io::write(&program, b"question").unwrap();
        shutdown(&program, Shutdown::Write).unwrap();
        assert_eq!(connection.pump(), Progress::Waiting);
        assert_eq!(read(&host).unwrap(), b"question");
        assert_eq!(read(&host).unwrap(), b"");
        rustix::io::write(&host, b"answer").unwrap();
        drop(host);
        assert_eq!(connection.pump(), Progress::Finished);
        assert_eq!(read(&program).unwrap(), b"answer");
        assert_eq!(read(&program).unwrap(), b"");
    }

    #[test]
    fn last_words_of_a_side_that_is_gone_arrive() {
        let (program, near) = pair();
        let (far, host) = pair();
        let mut connection = Connection::new(near, far);
        rustix::io::write(&program, b"bye").unwrap();
        drop(program);
        connection.hung_up(false);
        assert_eq!(connection.pump(), Progress::Finished);
        assert_eq!(read(&host).unwrap(), b"bye");
    }

    #[test]
    fn what_the_target_does_not_take_waits() {
        let (program, near) = pair();
        let (far, _host) = pair();
        let mut connection = Connection::new(near, far);
        let mut sent = 0;
        for _ in 0..10_000 {
            sent += rustix::io::write(&program, &[0; 4096]).unwrap_or(0);
            if connection.pump() == Progress::Waiting && rustix::io::write(&program, &[0]).is_err() {
                break;
            }
        }
        assert!(sent < 16 << 20, "{sent}");
        assert!(connection.to_far.bytes.len() <= BUFFER_BYTES);
    }
}
