//! Sorts the guest's vsock connections: the first control connection, streams, nonsense.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bulkhead_devices::GuestConnection;
use bulkhead_guest_protocol::stream::{HEADER_LENGTH_BYTES, StreamHeader, StreamKind, StreamSecret};
use bulkhead_guest_protocol::{CONTROL_PORT, STREAM_PORT};
use rustix::net::{RecvFlags, recv};
use thiserror::Error;

use crate::agent;
use crate::forwards::Forwards;
use crate::input::Input;
use crate::machine::{self, LockError};
use crate::streams::Streams;

const STACK_BYTES: usize = 128 * 1024;
/// For the whole header, which vminitd sends with its connect.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections without a header at once; each has a thread.
const MAXIMUM_NAMELESS: usize = 64;

/// The guest was not told what to start.
#[derive(Debug, Error)]
enum GreetError {
    #[error(transparent)]
    Volumes(#[from] LockError),
    #[error("cannot talk to vminitd")]
    Talk(#[source] io::Error),
}

/// Accepts until the vsock device ends. `start` is the encoded `Start`, sent from here so that it
/// does not wait for another thread to wake, once all of `locks` are held.
pub(crate) fn spawn(
    connections: Receiver<GuestConnection>,
    start: Vec<u8>,
    locks: Vec<PathBuf>,
    secret: StreamSecret,
    streams: Arc<Streams>,
    forwards: Arc<Forwards>,
    inputs: SyncSender<Input>,
) -> io::Result<()> {
    thread::Builder::new().name("accept".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let mut start = Some(start);
        let joiner = Joiner { secret, streams, forwards, nameless: Arc::default() };
        for connection in connections {
            match connection.port {
                CONTROL_PORT => {
                    // A second agent is an impostor; its connection closes unanswered.
                    let Some(start) = start.take() else { continue };
                    if let Err(error) = greet(connection, &start, &locks, &inputs) {
                        let error = anyhow::Error::from(error);
                        let _ = inputs.send(Input::AgentLost(format!("{error:#}")));
                    }
                }
                STREAM_PORT => joiner.join(connection.stream),
                _ => {}
            }
        }
    })?;
    Ok(())
}

fn greet(
    connection: GuestConnection,
    start: &[u8],
    locks: &[PathBuf],
    inputs: &SyncSender<Input>,
) -> Result<(), GreetError> {
    let mut socket = connection.stream;
    let connected = Instant::now();
    machine::lock_volumes(locks, inputs)?;
    socket.write_all(start).map_err(GreetError::Talk)?;
    // First, so that no message overtakes it.
    let writer = socket.try_clone().map_err(GreetError::Talk)?;
    if inputs.send(Input::AgentConnected(writer, connected)).is_ok() {
        agent::read_messages(socket, inputs.clone()).map_err(GreetError::Talk)?;
    }
    Ok(())
}

/// Gives a stream connection to whom its header names.
#[derive(Clone)]
struct Joiner {
    secret: StreamSecret,
    streams: Arc<Streams>,
    forwards: Arc<Forwards>,
    /// Connections whose header is waited for, the oldest first.
    nameless: Arc<Mutex<VecDeque<Arc<UnixStream>>>>,
}

impl Joiner {
    fn join(&self, socket: UnixStream) {
        let mut header = [0; HEADER_LENGTH_BYTES];
        let socket = Arc::new(socket);
        if let Ok((_, HEADER_LENGTH_BYTES)) =
            recv(&socket, &mut header, RecvFlags::PEEK | RecvFlags::DONTWAIT)
        {
            return self.finish(socket);
        }
        // Any process of the guest can connect and say nothing; vminitd's streams do not wait for it.
        self.remember(&socket);
        let joiner = self.clone();
        // Not another owner, which would keep the thread from being the only one.
        let same = Arc::as_ptr(&socket);
        let thread = thread::Builder::new().name("stream-header".to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(move || joiner.finish(socket)) {
            tracing::warn!("refused a stream of the guest: {error}");
            self.forget(same);
        }
    }

    /// Sends the oldest away when there are too many: vminitd names a stream as soon as it has connected.
    fn remember(&self, socket: &Arc<UnixStream>) {
        let mut nameless = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        if nameless.len() >= MAXIMUM_NAMELESS
            && let Some(oldest) = nameless.pop_front()
        {
            // Its thread reads the end.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        nameless.push_back(Arc::clone(socket));
    }

    fn forget(&self, socket: *const UnixStream) {
        let mut nameless = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        nameless.retain(|other| !std::ptr::eq(Arc::as_ptr(other), socket));
    }

    fn finish(&self, socket: Arc<UnixStream>) {
        let header = read_header(&socket, &self.secret);
        self.forget(Arc::as_ptr(&socket));
        let joined = header.and_then(|header| {
            // Nobody else has it any more, unless it was sent away this very moment.
            let socket = Arc::try_unwrap(socket).map_err(|_| io::ErrorKind::ConnectionAborted)?;
            match header.kind {
                StreamKind::Forward | StreamKind::HostSocket => self.forwards.connect(header, socket),
                _ => self.streams.connect(header, socket),
            }
        });
        if let Err(error) = joined {
            // Not a warning: whoever is hostile in the guest could fill the log with it.
            tracing::debug!("refused a stream of the guest: {error}");
        }
    }
}

fn read_header(mut socket: &UnixStream, secret: &StreamSecret) -> io::Result<StreamHeader> {
    let mut header = [0; HEADER_LENGTH_BYTES];
    let deadline = Instant::now() + HEADER_TIMEOUT;
    let mut missing = header.as_mut_slice();
    while !missing.is_empty() {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(rest))?;
        match socket.read(missing)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => missing = &mut missing[count..],
        }
    }
    socket.set_read_timeout(None)?;
    StreamHeader::from_bytes(header, secret).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_lock_that_cannot_be_had_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("missing/filling.lock");
        let (guest, stream) = UnixStream::pair().unwrap();
        let (to_accept, connections) = sync_channel(1);
        let (sender, inputs) = sync_channel(1);
        to_accept.send(GuestConnection { port: CONTROL_PORT, guest_port: 1, stream }).unwrap();
        let (streams, forwards) = (Streams::new(sender.clone()), Forwards::new(Vec::new()));
        let secret = StreamSecret::new([0; _]);
        spawn(connections, b"start".to_vec(), vec![lock.clone()], secret, streams, forwards, sender).unwrap();
        let Ok(Input::AgentLost(reason)) = inputs.recv() else { panic!("no reason") };
        let expected = format!(
            "cannot lock '{}' to fill the new volume: No such file or directory (os error 2)",
            lock.display()
        );
        assert_eq!(reason, expected);
        // The guest was not told to start.
        assert_eq!((&guest).read(&mut [0; 8]).unwrap(), 0);
    }
}
