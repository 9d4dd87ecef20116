//! Connections between Unix sockets of the container and the host.
//!
//! ```text
//!  program ──▶ socket of the host ──▶ here ── stream of kind HostSocket ──▶ host
//!  server  ◀── its own socket ◀── here ── stream of kind Forward ──▶ host, who asked for it
//! ```

mod connection;
mod container_socket;

use std::os::fd::{BorrowedFd, OwnedFd};

use bulkhead_guest_protocol::messages::HostSocket;
use bulkhead_guest_protocol::stream::{StreamHeader, StreamKind};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, chmodat, chownat, mkdirat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use crate::mounts::{self, MountSource, PreparedMount};
use crate::process::clone::Stack;
use crate::streams::Progress;
use crate::vsock;
use connection::Connection;

/// The host allows about as many.
const MAXIMUM_CONNECTIONS: usize = 128;
const BACKLOG: i32 = 64;
/// On the tmpfs of the generated files.
const DIRECTORY: &str = "/files/host-sockets";

/// All of them.
#[derive(Debug)]
pub(crate) struct Forwards {
    /// Upper half of the data of this module's events.
    event_class: u64,
    /// In the order of `Start.host_sockets`.
    listeners: Vec<OwnedFd>,
    connections: Vec<Option<Connection>>,
    /// Slots of connections that have more to move than one turn allowed.
    busy: Vec<usize>,
}

impl Forwards {
    /// Events of connections carry `event_class` and in the lower half what [`Self::event`] takes.
    pub(crate) fn new(event_class: u64) -> Self {
        Self { event_class, listeners: Vec::new(), connections: Vec::new(), busy: Vec::new() }
    }

    /// Listens in place of sockets of the host; returns the mounts that make them appear in the container.
    /// Events of the listeners carry `event_class` and their index.
    pub(crate) fn listen(
        &mut self,
        epoll: &OwnedFd,
        event_class: u64,
        sockets: &[HostSocket],
    ) -> Result<Vec<PreparedMount>, Errno> {
        if !sockets.is_empty() {
            mkdirat(CWD, DIRECTORY, Mode::from_raw_mode(0o755))?;
        }
        let mut prepared = Vec::with_capacity(sockets.len());
        for socket in sockets {
            let index = self.listeners.len();
            let own_path = format!("{DIRECTORY}/{index}");
            let listener = listen_at(&own_path, socket)?;
            epoll::add(epoll, &listener, EventData::new_u64(event_class | index as u64), EventFlags::IN)?;
            self.listeners.push(listener);
            let source = MountSource::Tree(mounts::clone_of(&own_path)?);
            prepared.push(PreparedMount { source, destination: socket.path.clone(), propagation: None });
        }
        Ok(prepared)
    }

    /// Somebody in the container wants to talk to this socket of the host.
    pub(crate) fn accept(&mut self, epoll: &OwnedFd, number: u32) {
        let Some(listener) = self.listeners.get(number as usize) else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(near) = accept_with(listener, flags) else { return };
        // Refused by closing it, whatever the reason.
        let header = StreamHeader { process_number: number, kind: StreamKind::HostSocket };
        let _ = self.join(epoll, header, near);
    }

    /// The host wants to talk to a socket in the container.
    pub(crate) fn connect(
        &mut self,
        epoll: &OwnedFd,
        stack: &mut Stack,
        namespace: BorrowedFd<'_>,
        number: u32,
        path: &[u8],
    ) -> Result<(), Errno> {
        let near = container_socket::connect(stack, namespace, path)?;
        self.join(epoll, StreamHeader { process_number: number, kind: StreamKind::Forward }, near)
    }

    /// Dials the host and moves bytes from now on.
    fn join(&mut self, epoll: &OwnedFd, header: StreamHeader, near: OwnedFd) -> Result<(), Errno> {
        if self.connections.iter().flatten().count() >= MAXIMUM_CONNECTIONS {
            return Err(Errno::MFILE);
        }
        let far = vsock::dial_stream()?;
        vsock::name_stream(&far, header)?;
        let slot = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = |side: u64| EventData::new_u64(self.event_class | ((slot as u64) << 1) | side);
        epoll::add(epoll, &near, data(0), flags)?;
        epoll::add(epoll, &far, data(1), flags)?;
        if slot == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[slot] = Some(Connection::new(near, far));
        Ok(())
    }

    /// Something happened to the connection behind the lower half of an event's data.
    pub(crate) fn event(&mut self, number: u32, flags: EventFlags) {
        let slot = (number >> 1) as usize;
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            connection.hung_up(number & 1 == 1);
        }
        self.pump(slot);
    }

    /// Whether [`Self::go_on`] has something to do.
    pub(crate) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Gives busy connections their turn.
    pub(crate) fn go_on(&mut self) {
        for slot in std::mem::take(&mut self.busy) {
            self.pump(slot);
        }
    }

    fn pump(&mut self, slot: usize) {
        let Some(entry) = self.connections.get_mut(slot) else { return };
        let Some(connection) = entry else { return };
        match connection.pump() {
            Progress::Waiting => {}
            Progress::Finished => *entry = None,
            Progress::Busy => {
                if !self.busy.contains(&slot) {
                    self.busy.push(slot);
                }
            }
        }
    }
}

fn listen_at(path: &str, socket: &HostSocket) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    let (user, group) = (Uid::from_raw(socket.user_id), Gid::from_raw(socket.group_id));
    chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    chmodat(CWD, path, Mode::from_raw_mode(socket.mode & 0o777), AtFlags::empty())?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}
