//! The control connection: frames of the guest protocol over one vsock stream.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_guest_protocol::frame::{self, MAXIMUM_FRAME_LENGTH_BYTES};
use bulkhead_guest_protocol::messages::{GuestMessage, Hello, HostMessage, guest_message::Body};
use bulkhead_guest_protocol::{CONTROL_PORT, GENERATION};
use prost::Message;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, ioctl};
use thiserror::Error;

use crate::vsock;

/// Holds Start with a usual image config, so that one read gets all of it.
const INITIAL_BUFFER_BYTES: usize = 16 * 1024;
const PREFIX_BYTES: usize = 4;
/// linux/sockios.h; the type encoding of an old ioctl, a plain number.
const SIOCOUTQ: Opcode = 0x5411;
const DRAIN_ROUNDS: usize = 200;
const DRAIN_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// The connection is of no more use.
#[derive(Debug, Error)]
pub(crate) enum ControlError {
    #[error("cannot reach the host")]
    Transfer(#[source] Errno),
    #[error("message does not fit a frame")]
    Encode(#[source] frame::FrameError),
    #[error("frame of {length_bytes} bytes exceeds the limit")]
    Oversize { length_bytes: usize },
    #[error("frame is not a valid message")]
    Decode(#[source] prost::DecodeError),
    #[error("host closed the connection")]
    Closed,
}

/// The connection and what was read of the next frames.
#[derive(Debug)]
pub(crate) struct Control {
    socket: OwnedFd,
    received: Vec<u8>,
}

impl Control {
    /// Starts to connect.
    pub(crate) fn dial() -> Result<Self, Errno> {
        Ok(Self { socket: vsock::dial(CONTROL_PORT)?, received: Vec::new() })
    }

    /// Waits for the connection and introduces the guest.
    pub(crate) fn send_hello(&mut self, init_entered_ns: u64) -> Result<(), ControlError> {
        let kernel_release = rustix::system::uname().release().to_string_lossy().into_owned();
        self.send(0, Body::Hello(Hello { generation: GENERATION, kernel_release, init_entered_ns }))
    }

    /// Sends an answer, or an event as number 0.
    pub(crate) fn send(&mut self, request_id: u64, body: Body) -> Result<(), ControlError> {
        let message = GuestMessage { request_id, body: Some(body) };
        let frame = frame::encode(&message).map_err(ControlError::Encode)?;
        vsock::send_all(&self.socket, &frame).map_err(ControlError::Transfer)
    }

    /// Takes what the socket has; call when it is readable.
    pub(crate) fn receive(&mut self) -> Result<(), ControlError> {
        let wanted = self.frame_length()?.map_or(0, |length| length.saturating_sub(self.received.len()));
        self.received.reserve(wanted.max(INITIAL_BUFFER_BYTES));
        match rustix::io::read(&self.socket, spare_capacity(&mut self.received)) {
            Ok(0) => Err(ControlError::Closed),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(ControlError::Transfer(error)),
        }
    }

    /// The next message that arrived whole.
    pub(crate) fn next_message(&mut self) -> Result<Option<HostMessage>, ControlError> {
        let Some(end) = self.frame_length()? else { return Ok(None) };
        let Some(body) = self.received.get(PREFIX_BYTES..end) else { return Ok(None) };
        let message = HostMessage::decode(body).map_err(ControlError::Decode)?;
        self.received.drain(..end);
        Ok(Some(message))
    }

    /// Waits until the host has taken everything that was sent: what is still queued in the guest
    /// when the power goes is lost.
    pub(crate) fn drain(&self) {
        for _ in 0..DRAIN_ROUNDS {
            // SAFETY: SIOCOUTQ writes one int.
            let queued = unsafe { ioctl(&self.socket, Getter::<SIOCOUTQ, libc::c_int>::new()) };
            if !matches!(queued, Ok(bytes) if bytes > 0) {
                return;
            }
            // A pause, in which the kernel's worker gets to run.
            let _ = poll(&mut [], Some(&DRAIN_PAUSE));
        }
    }

    /// Length of the frame in front, with its prefix.
    fn frame_length(&self) -> Result<Option<usize>, ControlError> {
        let Some(prefix) = self.received.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length_bytes = u32::from_le_bytes(*prefix) as usize;
        if length_bytes > MAXIMUM_FRAME_LENGTH_BYTES {
            return Err(ControlError::Oversize { length_bytes });
        }
        Ok(Some(length_bytes + PREFIX_BYTES))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_guest_protocol::messages::{ReadStatistics, Shutdown, host_message::Request};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Control, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        (Control { socket: ours, received: Vec::new() }, theirs)
    }

    #[test]
    fn frames_survive_any_split() {
        let (mut control, host) = pair();
        let first = HostMessage { request_id: 7, request: Some(Request::Shutdown(Shutdown {})) };
        let second = HostMessage { request_id: 8, request: Some(Request::ReadStatistics(ReadStatistics {})) };
        let mut bytes = frame::encode(&first).unwrap();
        bytes.extend(frame::encode(&second).unwrap());
        let mut messages = Vec::new();
        for byte in bytes {
            rustix::io::write(&host, &[byte]).unwrap();
            control.receive().unwrap();
            messages.extend(control.next_message().unwrap());
        }
        assert_eq!(messages, [first, second]);
    }

    #[test]
    fn oversize_and_end_are_errors() {
        let (mut control, host) = pair();
        rustix::io::write(&host, &[0xff; 4]).unwrap();
        control.receive().unwrap();
        assert!(matches!(control.next_message(), Err(ControlError::Oversize { .. })));
        let (mut control, host) = pair();
        drop(host);
        assert!(matches!(control.receive(), Err(ControlError::Closed)));
    }
}
