//! The Unix socket: who may connect, and the descriptors that come with requests.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use bulkhead_descriptor_passing::stream::{DescriptorQueue, DescriptorStream};
use tokio::net::UnixListener;

use super::connection::{Connection, Room};
use crate::allocator::Uses;

/// Connections that wait for `accept`; fifty starts at once must not be refused.
const BACKLOG: i32 = 1024;
/// When descriptors have run out, others must end before accepting makes sense.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections of this user and of root.
#[derive(Debug)]
pub(crate) struct ApiListener {
    listener: UnixListener,
    room: Room,
}

/// Descriptors that came with a connection's requests.
#[derive(Clone, Debug)]
pub(crate) struct PassedDescriptors {
    queue: DescriptorQueue,
    has_place: bool,
}

impl PassedDescriptors {
    pub(crate) fn take(&self) -> Vec<OwnedFd> {
        self.queue.take()
    }

    /// Whether there was room for the connection.
    pub(super) fn has_place(&self) -> bool {
        self.has_place
    }
}

/// Replaces a socket that an earlier daemon left: the lock is held, so nobody serves it.
///
/// `uses` is told whenever a connection has ended.
pub(crate) fn bind(path: &Path, uses: Uses) -> anyhow::Result<ApiListener> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace '{}'", path.display()));
        }
        _ => {}
    }
    let bound = || -> io::Result<UnixListener> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        // Before listen(2): nobody can connect with other permissions in between.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        rustix::net::listen(&socket, BACKLOG)?;
        UnixListener::from_std(socket.into())
    };
    bound()
        .map(|listener| ApiListener { listener, room: Room::of_this_process(uses) })
        .with_context(|| format!("cannot listen on '{}'", path.display()))
}

impl Listener for ApiListener {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((socket, _)) => DescriptorStream::new(socket, Vec::new()),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
            };
            // The mode of the socket says the same; not every file system honours it (unix(7)).
            let own = rustix::process::geteuid().as_raw();
            match stream.peer_credentials() {
                Ok(peer) if peer.uid() == own || peer.uid() == 0 => {
                    if let Some(connection) = self.room.admit(stream) {
                        return (connection, ());
                    }
                }
                Ok(peer) => tracing::warn!(uid = peer.uid(), "refused a connection of another user"),
                Err(error) => tracing::warn!("cannot tell who connects: {error}"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Connected<IncomingStream<'_, ApiListener>> for PassedDescriptors {
    fn connect_info(stream: IncomingStream<'_, ApiListener>) -> Self {
        let connection = stream.io();
        Self { queue: connection.stream.received(), has_place: connection.has_place() }
    }
}
