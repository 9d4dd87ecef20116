//! What the main thread is told by the others.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use bulkhead_guest_protocol::messages::GuestMessage;
use bulkhead_runtime_control::RequestFrame;

/// Names a control connection.
pub(crate) type ConnectionId = u64;

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// An apiserver connected; the socket is for the answers.
    Connected(ConnectionId, UnixStream),
    /// It asks for something.
    Requested(ConnectionId, Box<RequestFrame>, Vec<OwnedFd>),
    /// It is gone.
    Disconnected(ConnectionId),
    /// vminitd has dialled and been sent `Start`; the socket is for further requests.
    AgentConnected(UnixStream, Instant),
    /// vminitd says something.
    AgentMessage(Box<GuestMessage>),
    /// Its connection has ended or makes no sense any more.
    AgentLost(String),
    /// A client has connected to the published socket of this path in the container.
    SocketOpened(String, UnixStream),
    /// The detach keys were typed at the terminal of this client of this process.
    DetachKeysTyped(u32, u64),
    /// Nobody reads any more what this client of this process passes on.
    ReaderGone(u32, u64),
    /// A stream of this process has delivered its last byte.
    StreamEnded(u32),
    /// The locks of the volumes that the guest is about to fill.
    FillingBegins(Vec<File>),
    /// Another machine fills one of them.
    FillingGoesOn,
    /// The VMM process has ended.
    VmmEnded,
    /// The guest's kernel has said its last words.
    Panicked,
    /// A device has ended though the VMM lives.
    DeviceEnded(String),
    /// SIGTERM: the host shuts down.
    Terminate,
}
