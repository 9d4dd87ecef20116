//! Moves bytes between two sockets, each direction with an end of its own.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

const BUFFER_BYTES: usize = 16 * 1024;

/// What was read on one side and not yet taken by the other.
#[derive(Debug)]
struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The source has no more.
    ended: bool,
    /// The target was told, or takes nothing.
    closed: bool,
}

/// Returns when both directions are over.
pub(super) fn run(client: &UnixStream, guest: &UnixStream) {
    let sockets = [client, guest];
    // Direction n reads from socket n.
    let mut directions = [Direction::new(), Direction::new()];
    let mut hung_up = [false; 2];
    while !directions.iter().all(|direction| direction.closed) {
        let mut moved = false;
        for (index, direction) in directions.iter_mut().enumerate() {
            moved |= direction.step(sockets[index], sockets[1 - index]);
        }
        if !moved && !wait(sockets, &mut directions, &mut hung_up) {
            return;
        }
    }
}

/// Waits until something can be moved.
fn wait(sockets: [&UnixStream; 2], directions: &mut [Direction; 2], hung_up: &mut [bool; 2]) -> bool {
    let mut entries = Vec::with_capacity(2);
    for index in 0..2 {
        let mut flags = PollFlags::empty();
        if directions[index].wants_input() {
            flags |= PollFlags::IN;
        }
        if directions[1 - index].has_output() {
            flags |= PollFlags::OUT;
        }
        // One that hung up reports nothing but that, over and over.
        if !hung_up[index] {
            entries.push((index, PollFd::from_borrowed_fd(sockets[index].as_fd(), flags)));
        }
    }
    let (indexes, mut descriptors): (Vec<usize>, Vec<PollFd<'_>>) = entries.into_iter().unzip();
    if descriptors.is_empty() {
        return false;
    }
    match poll(&mut descriptors, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => return false,
    }
    for (index, descriptor) in indexes.into_iter().zip(&descriptors) {
        if descriptor.revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            hung_up[index] = true;
            // What it sent last still counts; nothing reaches it any more.
            directions[1 - index].closed = true;
        }
    }
    true
}

impl Direction {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, ended: false, closed: false }
    }

    fn wants_input(&self) -> bool {
        !self.closed && !self.ended && self.start == self.end
    }

    fn has_output(&self) -> bool {
        !self.closed && self.start < self.end
    }

    /// One call; false when it has to wait.
    fn step(&mut self, source: &UnixStream, target: &UnixStream) -> bool {
        if self.closed {
            return false;
        }
        if self.has_output() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(target, &self.buffer[self.start..self.end], flags) {
                Ok(count) => self.start += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => self.closed = true,
            }
            return true;
        }
        if self.ended {
            // A target that is gone needs no end.
            let _ = target.shutdown(Shutdown::Write);
            self.closed = true;
            return true;
        }
        match recv(source, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => (self.start, self.end) = (0, count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            // A reset ends it as well.
            _ => self.ended = true,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread;

    use super::*;

    fn start() -> (UnixStream, UnixStream, thread::JoinHandle<()>) {
        let (client, ours) = UnixStream::pair().unwrap();
        let (guest, far) = UnixStream::pair().unwrap();
        (client, guest, thread::spawn(move || run(&ours, &far)))
    }

    #[test]
    fn a_half_closed_connection_still_answers() {
        let (mut client, mut guest, pump) = start();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        guest.read_to_string(&mut question).unwrap();
        guest.write_all(b"answer").unwrap();
        drop(guest);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        pump.join().unwrap();
    }

    #[test]
    fn a_side_that_is_gone_ends_the_connection() {
        let (mut client, guest, pump) = start();
        client.write_all(b"last words").unwrap();
        drop(client);
        pump.join().unwrap();
        let mut words = String::new();
        { guest }.read_to_string(&mut words).unwrap();
        assert_eq!(words, "last words");
        let (_client, guest, pump) = start();
        drop(guest);
        pump.join().unwrap();
    }

    #[test]
    fn many_bytes_arrive_in_both_directions() {
        let (client, guest, pump) = start();
        let bytes: Vec<u8> =
            (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let send = |mut socket: UnixStream, bytes: Vec<u8>| {
            thread::spawn(move || {
                socket.write_all(&bytes).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
            })
        };
        let writers = [
            send(client.try_clone().unwrap(), bytes.clone()),
            send(guest.try_clone().unwrap(), bytes.clone()),
        ];
        let reader = {
            let mut guest = guest.try_clone().unwrap();
            thread::spawn(move || {
                let mut read = Vec::new();
                guest.read_to_end(&mut read).unwrap();
                read
            })
        };
        let mut read = Vec::new();
        { client }.read_to_end(&mut read).unwrap();
        assert!(read == bytes && reader.join().unwrap() == bytes);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        drop(guest);
        pump.join().unwrap();
    }
}
