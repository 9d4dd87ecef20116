//! A file or pipe of a client that may go away.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::events::EventSink;

/// Between two looks whether the client still waits for a pipe in which nothing moves.
const CLIENT_CHECK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Reads and writes block, but end with an error when the client is gone.
#[derive(Debug)]
pub(super) struct ClientFile {
    file: File,
    client: EventSink,
}

impl ClientFile {
    pub(super) fn to_read(file: OwnedFd, client: EventSink) -> Self {
        Self { file: without_blocking(file, OFlags::RDONLY), client }
    }

    pub(super) fn to_write(file: OwnedFd, client: EventSink) -> Self {
        Self { file: without_blocking(file, OFlags::WRONLY), client }
    }

    fn repeat(
        &mut self,
        ready: PollFlags,
        mut attempt: impl FnMut(&mut File) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            // A file would be gone through to its end although nobody wants it any more.
            if self.client.is_closed() {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody waits for the archive"));
            }
            match attempt(&mut self.file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match poll(&mut [PollFd::new(&self.file, ready)], Some(&CLIENT_CHECK)) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                other => return other,
            }
        }
    }
}

impl Read for ClientFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.repeat(PollFlags::IN, |file| file.read(buffer))
    }
}

impl Write for ClientFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.repeat(PollFlags::OUT, |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A pipe whose other end does nothing would hold the thread for ever. Opened anew it can be told not to, without a
/// change to what others do with the client's descriptor.
fn without_blocking(file: OwnedFd, direction: OFlags) -> File {
    let is_pipe = fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if is_pipe {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = direction | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(opened) = open(path, flags, Mode::empty()) {
            return File::from(opened);
        }
    }
    File::from(file)
}
