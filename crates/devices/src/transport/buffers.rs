//! Scattered guest memory, and system calls that move bytes between it and a file or socket without a copy
//!
//! The guest may write to its memory at any moment, so no Rust reference to it is ever formed: it is either
//! copied with volatile accesses or handed to the kernel as an `iovec`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::{Bytes, VolatileSlice};

/// `UIO_MAXIOV` of Linux: more vectors in one call are an error.
const MAXIMUM_VECTORS: usize = 1024;

/// A list of pieces of guest memory that is consumed from the front.
#[derive(Debug, Default)]
pub(crate) struct Buffers<'m> {
    pieces: Vec<VolatileSlice<'m>>,
}

impl<'m> Buffers<'m> {
    pub(crate) fn push(&mut self, piece: VolatileSlice<'m>) {
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    pub(crate) fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes left. A descriptor chain is at most 2^32 bytes long, so this cannot overflow.
    pub(crate) fn length(&self) -> usize {
        self.pieces.iter().map(VolatileSlice::len).sum()
    }

    /// Cuts the first `count` bytes off, or all if there are fewer.
    pub(crate) fn split_front(&mut self, count: usize) -> Buffers<'m> {
        let mut front = Buffers::default();
        let mut missing = count;
        let mut whole = 0;
        for piece in &mut self.pieces {
            if missing == 0 {
                break;
            }
            match piece.split_at(missing) {
                Ok((head, tail)) => {
                    front.push(head);
                    missing = 0;
                    if tail.is_empty() {
                        whole += 1;
                    } else {
                        *piece = tail;
                    }
                }
                Err(_) => {
                    missing -= piece.len();
                    front.push(*piece);
                    whole += 1;
                }
            }
        }
        self.pieces.drain(..whole);
        front
    }

    /// Drops the first `count` bytes, or all if there are fewer.
    pub(crate) fn advance(&mut self, count: usize) {
        self.split_front(count);
    }

    /// Takes the first `N` bytes, unless there are fewer.
    pub(crate) fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.length() < N {
            return None;
        }
        let mut array = [0; N];
        self.split_front(N).copy_to(&mut array);
        Some(array)
    }

    /// Copies to `target` what fits.
    pub(crate) fn copy_to(&self, target: &mut [u8]) -> usize {
        let mut copied = 0;
        for piece in &self.pieces {
            let Some(rest) = target.get_mut(copied..) else { break };
            copied += piece.copy_to(rest);
        }
        copied
    }

    /// Appends everything to `target`.
    pub(crate) fn append_to(&self, target: &mut Vec<u8>) {
        let start = target.len();
        target.resize(start + self.length(), 0);
        self.copy_to(&mut target[start..]);
    }

    /// Copies `source` to the front and drops that part; false if it does not fit.
    pub(crate) fn put(&mut self, source: &[u8]) -> bool {
        if self.length() < source.len() {
            return false;
        }
        let mut rest = source;
        for piece in &self.split_front(source.len()).pieces {
            let (now, later) = rest.split_at(piece.len());
            if piece.write_slice(now, 0).is_err() {
                return false;
            }
            rest = later;
        }
        true
    }

    /// Fills everything with zeroes.
    pub(crate) fn fill_zeroes(&self) {
        const ZEROES: [u8; 4096] = [0; 4096];
        for piece in &self.pieces {
            let mut offset = 0;
            while offset < piece.len() {
                let count = ZEROES.len().min(piece.len() - offset);
                if piece.write_slice(&ZEROES[..count], offset).is_err() {
                    return;
                }
                offset += count;
            }
        }
    }

    fn vectors(&self, limit: usize) -> Vec<libc::iovec> {
        let mut rest = limit;
        let pieces = self.pieces.iter().take(MAXIMUM_VECTORS);
        let vector_of = |piece: &VolatileSlice<'_>| {
            let iov_len = piece.len().min(rest);
            rest -= iov_len;
            libc::iovec { iov_base: piece.ptr_guard_mut().as_ptr().cast(), iov_len }
        };
        pieces.map(vector_of).collect()
    }

    /// Reads from `file` at `offset` into the front; the bytes read, 0 at the end of the file.
    pub(crate) fn read_from(&self, file: BorrowedFd<'_>, offset_bytes: u64) -> io::Result<usize> {
        let offset = file_offset(offset_bytes)?;
        let vectors = self.vectors(usize::MAX);
        // SAFETY: the vectors point into mappings that live as long as `self`; the kernel alone writes to them.
        retry(|| unsafe { libc::preadv(file.as_raw_fd(), vectors.as_ptr(), count(&vectors), offset) })
    }

    /// Writes the front to `file` at `offset`; the bytes written.
    pub(crate) fn write_to(&self, file: BorrowedFd<'_>, offset_bytes: u64) -> io::Result<usize> {
        let offset = file_offset(offset_bytes)?;
        let vectors = self.vectors(usize::MAX);
        // SAFETY: the vectors point into mappings that live as long as `self`; the kernel alone reads them.
        retry(|| unsafe { libc::pwritev(file.as_raw_fd(), vectors.as_ptr(), count(&vectors), offset) })
    }

    /// Receives at most `limit` bytes from a socket into the front without ever waiting; 0 at the end of the stream.
    pub(crate) fn receive_from(&self, socket: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        let mut vectors = self.vectors(limit);
        let mut message = message_of(&mut vectors);
        // SAFETY: `message` refers to `vectors`, which point into mappings that live as long as `self`.
        retry(|| unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
    }

    /// Sends the front to a socket without ever waiting; the bytes sent.
    pub(crate) fn send_to(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut vectors = self.vectors(usize::MAX);
        let message = message_of(&mut vectors);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `message` refers to `vectors`, which point into mappings that live as long as `self`.
        retry(|| unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) })
    }
}

fn message_of(vectors: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is a valid value: no address, no vectors, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    message
}

fn file_offset(offset_bytes: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset_bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn count(vectors: &[libc::iovec]) -> libc::c_int {
    libc::c_int::try_from(vectors.len()).unwrap_or(libc::c_int::MAX)
}

fn retry(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(moved) = usize::try_from(call()) {
            return Ok(moved);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(memory: &mut [Vec<u8>]) -> Buffers<'_> {
        let mut buffers = Buffers::default();
        for piece in memory {
            buffers.push(VolatileSlice::from(piece.as_mut_slice()));
        }
        buffers
    }

    #[test]
    fn splits_across_pieces() {
        let mut memory = vec![b"abc".to_vec(), b"de".to_vec(), b"fghi".to_vec()];
        let mut all = buffers(&mut memory);
        assert_eq!(all.take_array::<4>().unwrap(), *b"abcd");
        assert_eq!(all.length(), 5);
        let mut rest = Vec::new();
        all.split_front(100).append_to(&mut rest);
        assert_eq!(rest, b"efghi");
        assert_eq!(all.length(), 0);
        assert!(all.take_array::<1>().is_none());
    }

    #[test]
    fn puts_across_pieces() {
        let mut memory = vec![vec![0; 3], vec![0; 3]];
        let mut all = buffers(&mut memory);
        assert!(all.put(b"1234"));
        assert!(!all.put(b"567"));
        all.fill_zeroes();
        assert_eq!(memory, [b"123".to_vec(), b"4\0\0".to_vec()]);
    }
}
