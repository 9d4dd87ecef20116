//! Connections to Unix sockets across the border of the machine.
//!
//! ```text
//!  client ──▶ published socket ──▶ helper ── ConnectSocket ──▶ vminitd ──▶ socket in the container
//!                                    ▲──── stream of kind Forward ────┘
//!  user's agent ◀── helper ◀── stream of kind Agent ── vminitd ◀── program in the container
//! ```
//!
//! Nothing that the guest says names a path of the host: it brings a number that was given out for one
//! waiting client, or asks for the one agent that the user named.

mod published;
mod pump;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bulkhead_guest_protocol::stream::{StreamHeader, StreamKind};

pub(crate) use published::PublishedSockets;

/// A connection costs a thread and two buffers here and memory in the guest.
const MAXIMUM_CONNECTIONS: usize = 128;
const STACK_BYTES: usize = 64 * 1024;

/// All of them.
#[derive(Debug)]
pub(crate) struct Forwards {
    waiting: Mutex<Waiting>,
    count: Arc<AtomicUsize>,
    agent: Option<PathBuf>,
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
    /// `agent` is where the user's SSH agent listens.
    pub(crate) fn new(agent: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), count: Arc::default(), agent })
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
        let agent = self.agent.clone().ok_or_else(|| io::Error::other("the user has no SSH agent"))?;
        let slot = self.take_slot().ok_or_else(|| io::Error::other("too many connections"))?;
        // In the thread, because an agent that is busy lets others wait.
        spawn("agent forward", slot, move || match UnixStream::connect(&agent) {
            Ok(agent) => pump::run(&agent, &guest),
            Err(error) => tracing::warn!("cannot reach the SSH agent '{}': {error}", agent.display()),
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
        let forwards = Forwards::new(None);
        let header = |process_number, kind| StreamHeader { process_number, kind };
        assert!(forwards.connect(header(1, StreamKind::Forward), pair().1).is_err());
        assert!(forwards.connect(header(0, StreamKind::Agent), pair().1).is_err());
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
