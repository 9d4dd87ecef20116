//! Connections to Unix sockets across the border of the machine.
//!
//! ```text
//!  client ──▶ published socket ──▶ helper ── ConnectSocket ──▶ vminitd ──▶ socket in the container
//!                                    ▲──── stream of kind Forward ────┘
//!  socket of the host ◀── helper ◀── stream of kind HostSocket ── vminitd ◀── program in the container
//! ```
//!
//! Nothing that the guest says names a path of the host: it brings a number that was given out for one
//! waiting client, or the index of a socket that the user named.

mod host_sockets;
mod published;
mod pump;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::stream::{StreamHeader, StreamKind};

use host_sockets::HostSocket;
pub(crate) use host_sockets::open as open_host_sockets;
pub(crate) use published::PublishedSockets;

/// A connection costs a thread and two buffers here and memory in the guest.
const MAXIMUM_CONNECTIONS: usize = 128;
const STACK_BYTES: usize = 64 * 1024;

/// All of them.
#[derive(Debug)]
pub(crate) struct Forwards {
    waiting: Mutex<Waiting>,
    count: Arc<AtomicUsize>,
    host_sockets: Arc<[HostSocket]>,
}

/// Clients for which the guest is connecting, by number.
#[derive(Debug, Default)]
struct Waiting {
    last_number: u32,
    clients: BTreeMap<u32, (UnixStream, Slot)>,
}

/// The right to one connection.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Forwards {
    /// `host_sockets` are those that the guest may reach.
    pub(crate) fn new(host_sockets: Vec<HostSocket>) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), count: Arc::default(), host_sockets: host_sockets.into() })
    }

    /// As vminitd is told of them.
    pub(crate) fn host_sockets(&self) -> Vec<guest::HostSocket> {
        self.host_sockets.iter().map(HostSocket::message).collect()
    }

    /// Keeps a client until the guest has connected; `None` when there are too many.
    pub(crate) fn expect(&self, client: UnixStream) -> Option<u32> {
        let slot = self.take_slot()?;
        let mut waiting = self.lock();
        waiting.last_number = waiting.last_number.wrapping_add(1);
        let number = waiting.last_number;
        waiting.clients.insert(number, (client, slot));
        Some(number)
    }

    /// The guest could not connect: the client is sent away.
    pub(crate) fn forget(&self, number: u32) {
        self.lock().clients.remove(&number);
    }

    /// Takes a connection of the guest.
    ///
    /// # Errors
    /// Nobody waits for it, there are too many, or there is no thread for it.
    pub(crate) fn connect(&self, header: StreamHeader, guest: UnixStream) -> io::Result<()> {
        if header.kind == StreamKind::Forward {
            let client = self.lock().clients.remove(&header.process_number);
            let (client, slot) = client.ok_or_else(|| io::Error::other("nobody waits for this socket"))?;
            return spawn("forward", slot, move || pump::run(&client, &guest));
        }
        let index = header.process_number as usize;
        if !self.host_sockets.get(index).is_some_and(HostSocket::is_somewhere) {
            return Err(io::Error::other("there is no such socket of the host"));
        }
        let slot = self.take_slot().ok_or_else(|| io::Error::other("too many connections"))?;
        let sockets = Arc::clone(&self.host_sockets);
        // In the thread, because a server that is busy lets others wait.
        spawn("host socket", slot, move || {
            let socket = &sockets[index];
            match socket.connect() {
                Ok(server) => pump::run(&server, &guest),
                Err(error) => {
                    tracing::warn!("cannot connect to socket '{}': {error}", socket.path().display());
                }
            }
        })
    }

    fn take_slot(&self) -> Option<Slot> {
        let slot = Slot(Arc::clone(&self.count));
        (self.count.fetch_add(1, Ordering::AcqRel) < MAXIMUM_CONNECTIONS).then_some(slot)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(name: &str, slot: Slot, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
        work();
        drop(slot);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    #[test]
    fn f79_only_awaited_connections_are_taken_and_only_so_many() {
        let forwards = Forwards::new(Vec::new());
        let header = |process_number, kind| StreamHeader { process_number, kind };
        assert!(forwards.connect(header(1, StreamKind::Forward), pair().1).is_err());
        assert!(forwards.connect(header(0, StreamKind::HostSocket), pair().1).is_err());
        let (mut clients, mut numbers) = (Vec::new(), Vec::new());
        while let Some(number) = {
            let (client, ours) = pair();
            clients.push(client);
            forwards.expect(ours)
        } {
            numbers.push(number);
        }
        assert_eq!(numbers.len(), MAXIMUM_CONNECTIONS);
        forwards.forget(numbers[0]);
        let number = forwards.expect(pair().1).unwrap();
        assert!(forwards.connect(header(number, StreamKind::Forward), pair().1).is_ok());
        assert!(forwards.connect(header(number, StreamKind::Forward), pair().1).is_err());
    }
}
