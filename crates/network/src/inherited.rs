//! The control connection that the apiserver passes to us: it need not wait for the socket.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};

const DESCRIPTOR: RawFd = 3;

/// Takes descriptor 3 if it is a Unix stream socket. To be called first thing in main.
pub(crate) fn take() -> Option<UnixStream> {
    // SAFETY: F_GETFD only looks at the number.
    if unsafe { libc::fcntl(DESCRIPTOR, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and nothing in this process has been started that could own it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(DESCRIPTOR) };
    let is_control = matches!(sockopt::socket_type(&descriptor), Ok(SocketType::STREAM))
        && matches!(sockopt::socket_domain(&descriptor), Ok(AddressFamily::UNIX));
    let stream = is_control.then(|| UnixStream::from(descriptor))?;
    fcntl_setfd(&stream, FdFlags::CLOEXEC).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}
