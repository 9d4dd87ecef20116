//! stdout, stderr, or what a terminal shows.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::descriptor::ClientDescriptor;
use super::wake::{Waited, Wake};
use crate::input::Input;
use crate::log_writer::{LogStream, LogWriter};

const STACK_BYTES: usize = 64 * 1024;
/// A flood moves in pieces of this size; it is what a pipe holds.
const BUFFER_BYTES: usize = 64 * 1024;
/// vminitd sends everything before it reports the end of a process, so this is for a hostile one.
const LAST_BYTES_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Where an output goes.
#[derive(Debug)]
pub(super) struct OutputClient {
    pub(super) number: u64,
    /// It started the process, for which an output that nobody reads any more is what it is everywhere: EPIPE.
    pub(super) is_starter: bool,
    pub(super) descriptor: ClientDescriptor,
}

/// What is left to do after bytes were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    Next,
    /// The process is to hear that nobody reads.
    NoReader,
}

/// One output of a process.
#[derive(Debug)]
pub(super) struct OutputStream {
    process_number: u32,
    log: Option<(Arc<LogWriter>, LogStream)>,
    inputs: SyncSender<Input>,
    client: Mutex<Option<Arc<OutputClient>>>,
    /// Which client's descriptor took no more, and why.
    refused: Mutex<Option<(u64, Errno)>>,
    wake: Wake,
    started: AtomicBool,
    process_ended: AtomicBool,
    drained: AtomicBool,
}

impl OutputStream {
    pub(super) fn new(
        process_number: u32,
        log: Option<(Arc<LogWriter>, LogStream)>,
        inputs: SyncSender<Input>,
    ) -> io::Result<Self> {
        Ok(Self {
            process_number,
            log,
            inputs,
            client: Mutex::default(),
            refused: Mutex::default(),
            wake: Wake::new()?,
            started: AtomicBool::new(false),
            process_ended: AtomicBool::new(false),
            drained: AtomicBool::new(false),
        })
    }

    /// Moves bytes in a thread of its own.
    pub(super) fn start(self: &Arc<Self>, socket: UnixStream) -> io::Result<()> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Err(io::Error::other("the stream is connected already"));
        }
        let stream = Arc::clone(self);
        let name = format!("output {}", self.process_number);
        thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
            stream.carry(&socket);
            stream.finish();
        })?;
        Ok(())
    }

    pub(super) fn attach(&self, client: Option<OutputClient>) {
        *self.lock_client() = client.map(Arc::new);
        self.wake.call();
    }

    /// No more bytes are to be waited for than those on their way.
    pub(super) fn process_ended(&self) {
        self.process_ended.store(true, Ordering::Release);
        self.wake.call();
    }

    /// Gives up on a stream that the guest never connected.
    pub(super) fn abandon_unconnected(&self) {
        if !self.started.swap(true, Ordering::AcqRel) {
            self.drained.store(true, Ordering::Release);
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Why this client did not get everything, if it was not its own doing.
    pub(super) fn refusal(&self, client: u64) -> Option<Errno> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.filter(|(of, _)| *of == client).map(|(_, error)| error)
    }

    pub(super) fn lock_client(&self) -> std::sync::MutexGuard<'_, Option<Arc<OutputClient>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self) {
        // A client that reads until the end sees it now.
        *self.lock_client() = None;
        self.drained.store(true, Ordering::Release);
        // Without a main thread nobody wants to know.
        let _ = self.inputs.send(Input::StreamEnded(self.process_number));
    }

    fn carry(&self, socket: &UnixStream) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((0, _)) => return,
                Ok((count, _)) => {
                    // vminitd sees the connection break and lets go of the pipe.
                    if self.deliver(&buffer[..count]) == Delivered::NoReader {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let ended = self.process_ended.load(Ordering::Acquire);
                    let timeout = ended.then_some(&LAST_BYTES_TIMEOUT);
                    if self.wake.wait_or(socket.as_fd(), PollFlags::IN, timeout) == Waited::TimedOut {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn deliver(&self, bytes: &[u8]) -> Delivered {
        if let Some((log, stream)) = &self.log {
            log.write(*stream, bytes);
        }
        let mut rest = bytes;
        let mut current = self.lock_client().clone();
        while let Some(client) = &current {
            if rest.is_empty() {
                return Delivered::Next;
            }
            match client.descriptor.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.wake.wait_or(client.descriptor.as_fd(), PollFlags::OUT, None) == Waited::Woken {
                        let now = self.lock_client().clone();
                        // What a former client did not take is not meant for the next one.
                        if !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, client)) {
                            return Delivered::Next;
                        }
                        current = now;
                    }
                }
                Err(error) => {
                    let mut slot = self.lock_client();
                    if slot.as_ref().is_some_and(|now| Arc::ptr_eq(now, client)) {
                        *slot = None;
                    }
                    drop(slot);
                    if error == Errno::PIPE && client.is_starter {
                        return Delivered::NoReader;
                    }
                    if error == Errno::PIPE {
                        // Without a main thread nobody wants to know.
                        let _ = self.inputs.send(Input::ReaderGone(self.process_number, client.number));
                        return Delivered::Next;
                    }
                    if error == Errno::CONNRESET || client.descriptor.has_hung_up() {
                        return Delivered::Next;
                    }
                    // A full disk, a limit, a broken device.
                    let refused = Some((client.number, error));
                    *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
                    // Whoever would write on without end is to hear of it, as a process of the host would.
                    return if client.is_starter { Delivered::NoReader } else { Delivered::Next };
                }
            }
        }
        Delivered::Next
    }
}
