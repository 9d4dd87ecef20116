//! Control connections: the inherited one, and those of later apiservers on `control.sock`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bulkhead_descriptor_passing::frame::{self, FrameError};
use bulkhead_runtime_control::{Event, Failure, Message, Reply, Request, RequestFrame};
use rustix::net::sockopt::socket_peercred;

use crate::input::{ConnectionId, Input};

/// The inherited connection.
pub(crate) const FIRST_CONNECTION: ConnectionId = 0;
/// A peer that has not taken a message for this long is stopped or stuck; it may connect again.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
const MAXIMUM_CONNECTIONS: usize = 32;
/// serde_json recurses.
const STACK_BYTES: usize = 256 * 1024;

/// The frame that makes this helper somebody's.
#[derive(Debug)]
pub(crate) struct StartOrder {
    pub(crate) frame: RequestFrame,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Waits for `Start`; `None` when the other end closes without a word.
pub(crate) fn receive_start(control: &UnixStream) -> Result<Option<StartOrder>> {
    let Some(received) = frame::receive::<RequestFrame>(control).context("cannot receive Start")? else {
        return Ok(None);
    };
    if !matches!(received.message.request, Request::Start(_)) {
        bail!("the first request was not Start");
    }
    Ok(Some(StartOrder { frame: received.message, descriptors: received.descriptors }))
}

/// The writing halves; the main thread's.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: BTreeMap<ConnectionId, Connection>,
}

#[derive(Debug)]
struct Connection {
    socket: UnixStream,
    subscribed: bool,
}

impl Connections {
    pub(crate) fn add(&mut self, id: ConnectionId, socket: UnixStream) {
        if self.open.len() >= MAXIMUM_CONNECTIONS || socket.set_write_timeout(Some(SEND_TIMEOUT)).is_err() {
            return close(&socket);
        }
        self.open.insert(id, Connection { socket, subscribed: false });
    }

    pub(crate) fn subscribe(&mut self, id: ConnectionId) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.subscribed = true;
        }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.open.remove(&id);
    }

    pub(crate) fn reply(&mut self, connection: ConnectionId, id: u64, result: Result<Reply, Failure>) {
        self.send(connection, &Message::Reply { id, result });
    }

    /// Tells every subscriber.
    pub(crate) fn announce(&mut self, event: &Event) {
        let message = Message::Event(event.clone());
        let subscribers: Vec<ConnectionId> =
            self.open.iter().filter(|(_, connection)| connection.subscribed).map(|(id, _)| *id).collect();
        for id in subscribers {
            self.send(id, &message);
        }
    }

    fn send(&mut self, id: ConnectionId, message: &Message) {
        let Some(connection) = self.open.get(&id) else { return };
        if let Err(error) = frame::send(&connection.socket, message, &[]) {
            tracing::warn!(connection = id, "cannot send to an apiserver: {error}");
            close(&connection.socket);
            self.open.remove(&id);
        }
    }
}

/// Also ends the reader, which has a descriptor of its own.
fn close(socket: &UnixStream) {
    // The peer may have closed it already.
    let _ = socket.shutdown(std::net::Shutdown::Both);
}

/// Reads requests of a connection in a thread of its own.
pub(crate) fn read_requests(
    id: ConnectionId,
    socket: UnixStream,
    inputs: SyncSender<Input>,
) -> io::Result<()> {
    let name = format!("connection {id}");
    thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
        loop {
            let input = match frame::receive::<RequestFrame>(&socket) {
                Ok(Some(frame)) => Input::Requested(id, Box::new(frame.message), frame.descriptors),
                Ok(None) => break,
                Err(error) => {
                    report(id, &error);
                    break;
                }
            };
            if inputs.send(input).is_err() {
                break;
            }
        }
        close(&socket);
        // Without a main thread nobody wants to know.
        let _ = inputs.send(Input::Disconnected(id));
    })?;
    Ok(())
}

fn report(id: ConnectionId, error: &FrameError) {
    match error {
        FrameError::Transfer(source) if source.kind() == io::ErrorKind::ConnectionReset => {}
        error => tracing::warn!(connection = id, "cannot receive from an apiserver: {error}"),
    }
}

/// Listens for later apiservers.
///
/// # Errors
/// The address is in use by a living helper, or cannot be bound.
pub(crate) fn listen(path: &Path, inputs: SyncSender<Input>) -> Result<()> {
    if UnixStream::connect(path).is_ok() {
        bail!("another helper serves '{}'", path.display());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("cannot remove the stale socket '{}'", path.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on '{}'", path.display()))?;
    let accept = move || {
        for (id, socket) in (FIRST_CONNECTION + 1..).zip(listener.incoming()) {
            let Ok(socket) = socket else {
                // Out of descriptors: give others time to return some.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if is_own_user(&socket) && accept_one(id, socket, &inputs).is_err() {
                tracing::warn!("cannot serve a further connection");
            }
        }
    };
    thread::Builder::new()
        .name("listen".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(accept)
        .context("cannot start a thread")?;
    Ok(())
}

/// The directory is private already; this is for a directory that somebody opened up.
fn is_own_user(socket: &UnixStream) -> bool {
    socket_peercred(socket).is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

fn accept_one(id: ConnectionId, socket: UnixStream, inputs: &SyncSender<Input>) -> io::Result<()> {
    // First, so that no request overtakes it.
    if inputs.send(Input::Connected(id, socket.try_clone()?)).is_ok() {
        read_requests(id, socket, inputs.clone())?;
    }
    Ok(())
}
