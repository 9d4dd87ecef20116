//! Moves bytes between a process's pipes or terminal and the host.
//!
//! Every descriptor is watched edge-triggered, so that no interest changes hands when one side
//! blocks; a pump therefore goes on until a call says EAGAIN. Between a pipe and a socket the kernel
//! splices: what the other side does not take yet stays in the pipe or in the socket, and no
//! memory of PID 1 grows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{SpliceFlags, splice};

use crate::process::terminal::TERMINAL_READ_BYTES;

/// More than a pipe holds.
const SPLICE_BYTES: usize = 1024 * 1024;
/// What a terminal still carries at most once its process has ended.
const TERMINAL_REST_BYTES: u64 = 64 * 1024;
/// Rounds before other streams get their turn.
const ROUNDS: usize = 16;

/// What a pump left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Both sides wait for an event.
    Waiting,
    /// There may be more to move at once.
    Busy,
    /// The stream is over; drop it.
    Finished,
}

/// One stdio connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) process_number: u32,
    socket: OwnedFd,
    local: Local,
    /// Set once the process has ended: how much its pipe still held then. What a grandchild writes
    /// later is not waited for.
    remaining: Option<u64>,
}

#[derive(Debug)]
enum Local {
    /// Reading end of stdout or stderr.
    Output(OwnedFd),
    /// Writing end of stdin.
    Input(OwnedFd),
    Terminal(TerminalPump),
}

#[derive(Debug)]
struct TerminalPump {
    master: OwnedFd,
    /// Read from one side and not yet taken by the other.
    to_host: Vec<u8>,
    to_process: Vec<u8>,
    input_ended: bool,
}

impl Stream {
    pub(crate) fn output(process_number: u32, socket: OwnedFd, pipe: OwnedFd) -> Self {
        Self { process_number, socket, local: Local::Output(pipe), remaining: None }
    }

    pub(crate) fn input(process_number: u32, socket: OwnedFd, pipe: OwnedFd) -> Self {
        Self { process_number, socket, local: Local::Input(pipe), remaining: None }
    }

    pub(crate) fn terminal(process_number: u32, socket: OwnedFd, master: OwnedFd) -> Self {
        let pump = TerminalPump { master, to_host: Vec::new(), to_process: Vec::new(), input_ended: false };
        Self { process_number, socket, local: Local::Terminal(pump), remaining: None }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The pipe or terminal.
    pub(crate) fn local(&self) -> BorrowedFd<'_> {
        match &self.local {
            Local::Output(pipe) | Local::Input(pipe) => pipe.as_fd(),
            Local::Terminal(pump) => pump.master.as_fd(),
        }
    }

    /// The terminal, if the stream has one.
    pub(crate) fn terminal_master(&self) -> Option<BorrowedFd<'_>> {
        match &self.local {
            Local::Terminal(pump) => Some(pump.master.as_fd()),
            _ => None,
        }
    }

    /// Nobody reads the stream's local end any more, or the host is gone.
    pub(crate) fn is_broken_by(&self, local_side: bool, error: bool, hang_up: bool) -> bool {
        match (&self.local, local_side) {
            (Local::Input(_), true) | (Local::Output(_), false) => error,
            (Local::Terminal(_), false) => error || hang_up,
            _ => false,
        }
    }

    /// The process has ended: only what is on its way still counts.
    pub(crate) fn process_ended(&mut self) {
        self.remaining = Some(match &self.local {
            Local::Output(pipe) => ioctl_fionread(pipe).unwrap_or(0),
            Local::Terminal(_) => TERMINAL_REST_BYTES,
            Local::Input(_) => 0,
        });
    }

    /// A terminal of a process that has ended, with nothing to read. What was written last may still
    /// be with the kernel's worker that feeds the line discipline, and whether somebody else has the
    /// terminal open cannot be asked: the owner waits a moment before it drops the stream.
    pub(crate) fn is_lingering(&self) -> bool {
        match &self.local {
            Local::Terminal(pump) => self.remaining.is_some() && pump.to_host.is_empty(),
            _ => false,
        }
    }

    /// Moves what can be moved.
    pub(crate) fn pump(&mut self) -> Progress {
        for _ in 0..ROUNDS {
            let progress = match &mut self.local {
                Local::Output(pipe) => pump_output(pipe, &self.socket, &mut self.remaining),
                Local::Input(_) if self.remaining.is_some() => Progress::Finished,
                Local::Input(pipe) => pump_input(&self.socket, pipe),
                Local::Terminal(pump) => pump.round(&self.socket, &mut self.remaining),
            };
            if progress != Progress::Busy {
                return progress;
            }
        }
        Progress::Busy
    }
}

fn pump_output(pipe: &OwnedFd, socket: &OwnedFd, remaining: &mut Option<u64>) -> Progress {
    let length = match *remaining {
        Some(0) => return Progress::Finished,
        Some(bytes) => usize::try_from(bytes).unwrap_or(SPLICE_BYTES).min(SPLICE_BYTES),
        None => SPLICE_BYTES,
    };
    match splice(pipe, None, socket, None, length, SpliceFlags::NONBLOCK) {
        Ok(0) => Progress::Finished,
        Ok(count) => {
            if let Some(bytes) = remaining {
                *bytes = bytes.saturating_sub(count as u64);
            }
            Progress::Busy
        }
        Err(Errno::INTR) => Progress::Busy,
        // Somebody in the container may have read its own output back.
        Err(Errno::AGAIN) if remaining.is_some() && matches!(ioctl_fionread(pipe), Ok(0)) => {
            Progress::Finished
        }
        Err(Errno::AGAIN) => Progress::Waiting,
        Err(_) => Progress::Finished,
    }
}

fn pump_input(socket: &OwnedFd, pipe: &OwnedFd) -> Progress {
    match splice(socket, None, pipe, None, SPLICE_BYTES, SpliceFlags::NONBLOCK) {
        // The host half-closed: the process reads the end of its input.
        Ok(0) => Progress::Finished,
        Ok(_) | Err(Errno::INTR) => Progress::Busy,
        Err(Errno::AGAIN) => Progress::Waiting,
        Err(_) => Progress::Finished,
    }
}

impl TerminalPump {
    /// One read and write in each direction.
    fn round(&mut self, socket: &OwnedFd, remaining: &mut Option<u64>) -> Progress {
        let output = self.send_output(socket, remaining);
        if output == Progress::Finished {
            return Progress::Finished;
        }
        if self.take_input(socket) == Progress::Busy { Progress::Busy } else { output }
    }

    fn send_output(&mut self, socket: &OwnedFd, remaining: &mut Option<u64>) -> Progress {
        if self.to_host.is_empty() {
            if *remaining == Some(0) {
                return Progress::Finished;
            }
            let mut buffer = [0; TERMINAL_READ_BYTES];
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(count) if count > 0 => {
                    self.to_host.extend_from_slice(&buffer[..count]);
                    if let Some(bytes) = remaining {
                        *bytes = bytes.saturating_sub(count as u64);
                    }
                }
                Err(Errno::INTR) => return Progress::Busy,
                // EIO: nobody has the other side open. As long as the process lives, somebody may open
                // it again.
                Err(Errno::IO) if remaining.is_some() => return Progress::Finished,
                _ => return Progress::Waiting,
            }
        }
        match send(socket, &self.to_host, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.to_host.drain(..count);
                Progress::Busy
            }
            Err(Errno::INTR) => Progress::Busy,
            Err(Errno::AGAIN) => Progress::Waiting,
            Err(_) => Progress::Finished,
        }
    }

    fn take_input(&mut self, socket: &OwnedFd) -> Progress {
        if self.to_process.is_empty() {
            if self.input_ended {
                return Progress::Waiting;
            }
            let mut buffer = [0; TERMINAL_READ_BYTES];
            match recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    self.input_ended = true;
                    return Progress::Waiting;
                }
                Ok((count, _)) => self.to_process.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR) => return Progress::Busy,
                Err(_) => return Progress::Waiting,
            }
        }
        match rustix::io::write(&self.master, &self.to_process) {
            Ok(count) => {
                self.to_process.drain(..count);
                Progress::Busy
            }
            Err(Errno::INTR) => Progress::Busy,
            Err(Errno::AGAIN) => Progress::Waiting,
            Err(_) => {
                self.to_process.clear();
                Progress::Waiting
            }
        }
    }
}
