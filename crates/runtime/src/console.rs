//! console.log: what the guest kernel prints. The guest chooses the volume, so two bounded files are
//! kept and a flood is slowed down; the pipe then holds up the VMM alone.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::input::Input;
use crate::text::sanitize;

const STACK_BYTES: usize = 64 * 1024;
const MAXIMUM_FILE_BYTES: u64 = 1024 * 1024;
/// Between two files: a guest cannot make the host write more than 10 MiB/s.
const ROTATION_PAUSE: Duration = Duration::from_millis(100);
/// Holds the last words of a panic.
const TAIL_BYTES: usize = 16 * 1024;
const END_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a panicking kernel is given to finish its sentence.
const SILENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const PANIC: &str = "Kernel panic - not syncing";

/// The console of a machine.
#[derive(Debug)]
pub(crate) struct Console {
    tail: Receiver<Vec<u8>>,
}

impl Console {
    /// Drains `pipe` into `path` from a thread of its own. A panic is reported, because User-Mode Linux
    /// then aborts itself, which the init of a PID namespace cannot (pid_namespaces(7)): it would spin
    /// for ever.
    pub(crate) fn spawn(pipe: OwnedFd, path: PathBuf, inputs: SyncSender<Input>) -> io::Result<Self> {
        let (sender, tail) = channel();
        thread::Builder::new().name("console".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            // Nobody waits for the tail of a machine that ended well.
            let _ = sender.send(drain(pipe.into(), path, &inputs));
        })?;
        Ok(Self { tail })
    }

    /// What the kernel said about its panic, once the VMM has ended.
    pub(crate) fn panic_message(&self) -> Option<String> {
        match self.tail.recv_timeout(END_TIMEOUT) {
            Ok(tail) => find_panic(&String::from_utf8_lossy(&tail)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Whether the last `count` bytes of `tail` complete the word.
fn has_panic(tail: &[u8], count: usize) -> bool {
    let start = tail.len().saturating_sub(count + PANIC.len());
    tail[start..].windows(PANIC.len()).any(|window| window == PANIC.as_bytes())
}

fn is_silent(pipe: &File) -> bool {
    matches!(poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&SILENCE)), Ok(0))
}

fn find_panic(tail: &str) -> Option<String> {
    let (_, after) = tail.rsplit_once(PANIC)?;
    let line = after.lines().next().unwrap_or_default().trim_start_matches([':', ' ']);
    Some(sanitize(line))
}

fn drain(mut pipe: File, path: PathBuf, inputs: &SyncSender<Input>) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut panicked = false;
    let mut reported = false;
    let mut log = Log { path, file: None, length_bytes: 0 };
    let mut buffer = vec![0; 4096];
    loop {
        if panicked && !reported && is_silent(&pipe) {
            reported = true;
            // Without a main thread nobody wants to know.
            let _ = inputs.send(Input::Panicked);
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return tail,
            Ok(count) => {
                let piece = &buffer[..count];
                tail.extend_from_slice(piece);
                panicked = panicked || has_panic(&tail, count);
                let excess = tail.len().saturating_sub(TAIL_BYTES);
                tail.drain(..excess);
                if log.write(piece).is_err() {
                    // A full disk: the pipe must be drained all the same.
                    log.file = None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return tail,
        }
    }
}

struct Log {
    path: PathBuf,
    file: Option<File>,
    length_bytes: u64,
}

impl Log {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.length_bytes >= MAXIMUM_FILE_BYTES {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = None;
            self.length_bytes = 0;
            thread::sleep(ROTATION_PAUSE);
        }
        let file = match &mut self.file {
            Some(file) => file,
            // Opened by the first word, of which most machines say none.
            none => none.insert(File::options().create(true).write(true).truncate(true).open(&self.path)?),
        };
        file.write_all(piece)?;
        self.length_bytes += piece.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_panic_is_found_and_made_harmless() {
        let tail = "x\nKernel panic - not syncing: Attempted to kill init!\x1b[2J exitcode=0x9\nCPU: 0\n";
        assert_eq!(find_panic(tail).as_deref(), Some("Attempted to kill init![2J exitcode=0x9"));
        assert_eq!(find_panic("all is well"), None);
    }
}
