//! Connections to the host. The guest always dials; it never listens.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use bulkhead_guest_protocol::stream::{StreamHeader, StreamSecret};
use bulkhead_guest_protocol::{HOST_CID, STREAM_PORT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect, send, socket_with, sockopt};

/// The host's device answers within a fraction of a millisecond; this is for a host that swaps.
const CONNECT_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

#[expect(clippy::cast_possible_truncation, reason = "a constant of 40")]
const FAMILY: libc::sa_family_t = libc::AF_VSOCK as libc::sa_family_t;
#[expect(clippy::cast_possible_truncation, reason = "a constant of 16")]
const ADDRESS_BYTES: SocketAddrLen = size_of::<libc::sockaddr_vm>() as SocketAddrLen;

/// `struct sockaddr_vm` of linux/vm_sockets.h.
struct VsockAddress(libc::sockaddr_vm);

// SAFETY: the pointer refers to an initialised sockaddr_vm that lives during the call of `f`.
unsafe impl SocketAddrArg for VsockAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f((&raw const self.0).cast(), ADDRESS_BYTES)
    }
}

/// Starts to connect; the socket never blocks.
pub(crate) fn dial(port: u32) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    // SAFETY: all-zero bytes are a valid sockaddr_vm.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = FAMILY;
    address.svm_cid = HOST_CID;
    address.svm_port = port;
    match connect(&socket, &VsockAddress(address)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// What opens every stream; from `Start`, for as long as the machine lives.
static SECRET: OnceLock<StreamSecret> = OnceLock::new();

/// Remembers what opens every stream. The first call counts.
pub(crate) fn set_secret(bytes: &[u8]) -> Result<(), Errno> {
    let secret = StreamSecret::try_from(bytes).map_err(|_| Errno::INVAL)?;
    SECRET.set(secret).map_err(|_| Errno::ALREADY)
}

/// Starts to connect a stream.
pub(crate) fn dial_stream() -> Result<OwnedFd, Errno> {
    dial(STREAM_PORT)
}

/// Tells the host which stream a connection is.
pub(crate) fn name_stream(socket: impl AsFd, header: StreamHeader) -> Result<(), Errno> {
    let secret = SECRET.get().ok_or(Errno::INVAL)?;
    send_all(socket, &header.to_bytes(secret))
}

/// Sends all of a short message, waiting for the connection or for room if it must.
pub(crate) fn send_all(socket: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match send(&socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::NOTCONN) => wait_until_writable(&socket)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_until_writable(socket: impl AsFd) -> Result<(), Errno> {
    let mut descriptors = [PollFd::new(&socket, PollFlags::OUT)];
    let ready = poll(&mut descriptors, Some(&CONNECT_TIMEOUT))?;
    if ready == 0 {
        return Err(Errno::TIMEDOUT);
    }
    if descriptors[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        sockopt::socket_error(&socket)??;
        return Err(Errno::CONNRESET);
    }
    Ok(())
}
