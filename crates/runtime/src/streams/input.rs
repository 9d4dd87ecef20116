//! stdin, or what is typed at a terminal.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::client::Source;
use super::detach_keys::DetachKeys;
use super::wake::{Waited, Wake};
use crate::input::Input;

const STACK_BYTES: usize = 64 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// The input of a process.
#[derive(Debug)]
pub(super) struct InputStream {
    process_number: u32,
    inputs: SyncSender<Input>,
    client: Mutex<Option<Arc<InputClient>>>,
    wake: Wake,
    started: AtomicBool,
    stopped: AtomicBool,
}

/// Whose input it is.
#[derive(Debug)]
pub(super) struct InputClient {
    pub(super) number: u64,
    pub(super) source: Source,
    pub(super) detach_keys: Vec<u8>,
}

/// Why a client's input is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was all.
    Exhausted,
    /// The client was exchanged, or its terminal hung up.
    Detached,
    /// The client typed its detach keys.
    KeysTyped,
    /// The process takes no more.
    Closed,
}

impl InputStream {
    pub(super) fn new(process_number: u32, inputs: SyncSender<Input>) -> io::Result<Self> {
        Ok(Self {
            process_number,
            inputs,
            client: Mutex::default(),
            wake: Wake::new()?,
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        })
    }

    /// Moves bytes in a thread of its own.
    pub(super) fn start(self: &Arc<Self>, socket: UnixStream) -> io::Result<()> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Err(io::Error::other("the stream is connected already"));
        }
        let stream = Arc::clone(self);
        thread::Builder::new().name("input".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            stream.carry(&socket);
            *stream.lock_client() = None;
        })?;
        Ok(())
    }

    pub(super) fn attach(&self, client: Option<InputClient>) {
        *self.lock_client() = client.map(Arc::new);
        self.wake.call();
    }

    /// The process has ended.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        *self.lock_client() = None;
        self.wake.call();
    }

    fn lock_client(&self) -> std::sync::MutexGuard<'_, Option<Arc<InputClient>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_current(&self, client: &Arc<InputClient>) -> bool {
        self.lock_client().as_ref().is_some_and(|now| Arc::ptr_eq(now, client))
    }

    fn carry(&self, socket: &UnixStream) {
        let mut buffer = vec![0; BUFFER_BYTES];
        while !self.stopped.load(Ordering::Acquire) {
            let client = self.lock_client().clone();
            let Some(client) = client else {
                self.wake.wait();
                continue;
            };
            match self.forward(&client, socket, &mut buffer) {
                End::Exhausted => {
                    // Once: the thread ends. A guest that is gone needs no end of file.
                    let _ = socket.shutdown(Shutdown::Write);
                    return;
                }
                End::Closed => return,
                End::Detached => self.forget(&client),
                End::KeysTyped => {
                    self.forget(&client);
                    // The main thread lets go of the outputs too, and tells. Without one, nobody cares.
                    let _ = self.inputs.send(Input::DetachKeysTyped(self.process_number, client.number));
                }
            }
        }
    }

    fn forget(&self, client: &Arc<InputClient>) {
        let mut slot = self.lock_client();
        if slot.as_ref().is_some_and(|now| Arc::ptr_eq(now, client)) {
            *slot = None;
        }
    }

    fn forward(&self, client: &Arc<InputClient>, socket: &UnixStream, buffer: &mut [u8]) -> End {
        let Source { descriptor, is_raw } = &client.source;
        let keys: &[u8] = if *is_raw { &client.detach_keys } else { &[] };
        let mut keys = DetachKeys::new(keys);
        loop {
            if self.wake.wait_or(descriptor.as_fd(), PollFlags::IN, None) == Waited::Woken {
                if !self.is_current(client) {
                    return End::Detached;
                }
                continue;
            }
            match descriptor.read(buffer) {
                Ok(count) if count > 0 => {
                    let typed = keys.pass(&buffer[..count]);
                    if let Err(end) = self.send(client, socket, &typed.bytes) {
                        return end;
                    }
                    if typed.detached {
                        return End::KeysTyped;
                    }
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                // What looks like an end of file in raw mode is none.
                _ if *is_raw || descriptor.has_hung_up() => return End::Detached,
                // A directory (EISDIR) has nothing to read either.
                _ => return End::Exhausted,
            }
        }
    }

    /// Bytes that were read are sent even when the client is exchanged meanwhile, unless the process
    /// does not take them.
    fn send(&self, client: &Arc<InputClient>, socket: &UnixStream, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            match send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let waited = self.wake.wait_or(socket.as_fd(), PollFlags::OUT, None);
                    if waited == Waited::Woken && !self.is_current(client) {
                        return Err(End::Detached);
                    }
                }
                Err(_) => return Err(End::Closed),
            }
        }
        Ok(())
    }
}
