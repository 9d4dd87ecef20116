//! One stream between a process of the guest and the host

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::credit::Credit;
use super::packet::{Operation, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use crate::transport::Buffers;

/// Small packets are gathered in blocks of this size, lest each of them cost an allocation.
const BLOCK_BYTES: usize = 64 * 1024;

/// What a packet to the guest says beyond addresses and credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) operation: Operation,
    pub(super) flags: u32,
    pub(super) data_bytes: u32,
}

/// The guest broke the rules of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation;

/// What is to become of a connection after it has moved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// Nothing is left to do and the guest knows it.
    Ended,
}

/// A connection. The guest's data goes straight to the host's socket and waits here only while that is full; the
/// host's data waits in the socket until the guest has room.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) guest_port: u32,
    pub(super) host_port: u32,
    pub(super) credit: Credit,
    /// Whether it stands in the queue of those with output.
    pub(super) queued: bool,
    stream: UnixStream,
    pending: VecDeque<Vec<u8>>,
    /// Bytes of the first pending block that are gone already.
    pending_offset: usize,
    response_due: bool,
    update_requested: bool,
    starving: bool,
    readable: bool,
    /// The peer has shut something down, so that a short read need not be the last.
    hangup_noted: bool,
    host_sends_no_more: bool,
    host_receives_no_more: bool,
    guest_sends_no_more: bool,
    guest_receives_no_more: bool,
    /// The guest has forgotten the connection; only what it sent before is left.
    orphaned: bool,
    shutdown_announced: u32,
}

impl Connection {
    pub(super) fn new(guest_port: u32, host_port: u32, credit: Credit, stream: UnixStream) -> Self {
        Self {
            guest_port,
            host_port,
            credit,
            queued: false,
            stream,
            pending: VecDeque::new(),
            pending_offset: 0,
            response_due: true,
            update_requested: false,
            starving: false,
            readable: false,
            hangup_noted: false,
            host_sends_no_more: false,
            host_receives_no_more: false,
            guest_sends_no_more: false,
            guest_receives_no_more: false,
            orphaned: false,
            shutdown_announced: 0,
        }
    }

    pub(super) fn stream(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether the host's socket must report when it has room again.
    pub(super) fn waits_for_room(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes in what became of the host's end.
    pub(super) fn note_event(&mut self, flags: EventFlags) -> Fate {
        let closed = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP) || closed {
            self.readable = true;
        }
        self.hangup_noted |= flags.contains(EventFlags::RDHUP) || closed;
        if closed {
            self.host_stops_receiving();
        } else if flags.contains(EventFlags::OUT) {
            self.flush();
        }
        self.fate()
    }

    /// Passes data of the guest on.
    pub(super) fn receive(&mut self, mut data: Buffers<'_>) -> Result<(), Violation> {
        let length = u32::try_from(data.length()).map_err(|_| Violation)?;
        if self.guest_sends_no_more || !self.credit.receive(length) {
            return Err(Violation);
        }
        if self.host_receives_no_more {
            self.credit.forward(length);
            return Ok(());
        }
        if self.pending.is_empty() {
            match data.send_to(self.stream.as_fd()) {
                Ok(sent) => {
                    data.advance(sent);
                    self.forwarded(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.credit.forward(length);
                    self.host_stops_receiving();
                    return Ok(());
                }
            }
        }
        if data.length() > 0 {
            match self.pending.back_mut().filter(|block| block.len() < BLOCK_BYTES) {
                Some(block) => data.append_to(block),
                None => {
                    let mut block = Vec::new();
                    data.append_to(&mut block);
                    self.pending.push_back(block);
                }
            }
        }
        Ok(())
    }

    /// The guest has shut directions down.
    pub(super) fn guest_shuts_down(&mut self, flags: u32) {
        if flags & SHUTDOWN_RECEIVE != 0 && !self.guest_receives_no_more {
            self.guest_receives_no_more = true;
            let _ = self.stream.shutdown(Shutdown::Read);
        }
        if flags & SHUTDOWN_SEND != 0 && !self.guest_sends_no_more {
            self.guest_sends_no_more = true;
            self.end_of_guest_data();
        }
    }

    /// The guest has forgotten the connection. What it sent before still reaches the host: when a process writes its
    /// last lines and exits, its kernel waits some seconds for a slow reader and then resets.
    pub(super) fn guest_resets(&mut self) -> Fate {
        self.guest_shuts_down(SHUTDOWN_RECEIVE | SHUTDOWN_SEND);
        self.orphaned = true;
        self.fate()
    }

    /// Whether the guest still takes part.
    pub(super) fn is_orphaned(&self) -> bool {
        self.orphaned
    }

    pub(super) fn request_update(&mut self) {
        self.update_requested = true;
    }

    /// Whether `produce` has something to say.
    pub(super) fn has_output(&self) -> bool {
        !self.orphaned
            && (self.response_due
                || self.is_closed_by_guest()
                || self.may_send_data()
                || self.starves()
                || self.update_requested
                || self.credit.update_is_due()
                || self.shutdown_wanted() != self.shutdown_announced)
    }

    /// The next packet for the guest; its data has been received into `body`.
    pub(super) fn produce(&mut self, body: &Buffers<'_>) -> Option<Output> {
        let output = |operation| Some(Output { operation, flags: 0, data_bytes: 0 });
        if self.orphaned {
            return None;
        }
        if std::mem::take(&mut self.response_due) {
            return output(Operation::Response);
        }
        if self.is_closed_by_guest() {
            self.orphaned = true;
            return output(Operation::Reset);
        }
        if let Some(data_bytes) = self.receive_from_host(body) {
            self.update_requested = false;
            return Some(Output { operation: Operation::Data, flags: 0, data_bytes });
        }
        if self.starves() {
            self.starving = true;
            return output(Operation::CreditRequest);
        }
        let wanted = self.shutdown_wanted();
        if wanted != self.shutdown_announced {
            self.shutdown_announced = wanted;
            return Some(Output { operation: Operation::Shutdown, flags: wanted, data_bytes: 0 });
        }
        if std::mem::take(&mut self.update_requested) || self.credit.update_is_due() {
            return output(Operation::CreditUpdate);
        }
        None
    }

    pub(super) fn fate(&self) -> Fate {
        if self.orphaned && self.pending.is_empty() { Fate::Ended } else { Fate::Lives }
    }

    /// Closes the host's end so that its reader sees everything and then the end of the stream.
    pub(super) fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        // Bytes that nobody reads would turn the end of the stream into ECONNRESET.
        let mut scratch = [0; 16 * 1024];
        while matches!(recv(&self.stream, &mut scratch, RecvFlags::DONTWAIT), Ok((1.., _))) {}
    }

    fn receive_from_host(&mut self, body: &Buffers<'_>) -> Option<u32> {
        if !self.may_send_data() {
            return None;
        }
        self.starving = false;
        let limit = body.length().min(self.credit.guest_space() as usize);
        match body.receive_from(self.stream.as_fd(), limit) {
            Ok(0) if limit > 0 => {
                self.readable = false;
                self.host_sends_no_more = true;
                None
            }
            Ok(received) => {
                // Less than asked for means empty, and more data means another event.
                if received < limit && !self.hangup_noted {
                    self.readable = false;
                }
                let received = u32::try_from(received).ok().filter(|received| *received > 0)?;
                self.credit.sent(received);
                Some(received)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                None
            }
            Err(_) => {
                self.readable = false;
                self.host_sends_no_more = true;
                self.host_stops_receiving();
                None
            }
        }
    }

    fn wants_to_send_data(&self) -> bool {
        self.readable && !self.host_sends_no_more && !self.guest_receives_no_more
    }

    fn may_send_data(&self) -> bool {
        self.wants_to_send_data() && self.credit.guest_space() > 0
    }

    /// Whether to ask for credit, once until there is some.
    fn starves(&self) -> bool {
        !self.starving && self.wants_to_send_data() && self.credit.guest_space() == 0
    }

    fn is_closed_by_guest(&self) -> bool {
        self.guest_sends_no_more && self.guest_receives_no_more && self.pending.is_empty()
    }

    fn shutdown_wanted(&self) -> u32 {
        let send = if self.host_sends_no_more { SHUTDOWN_SEND } else { 0 };
        let receive = if self.host_receives_no_more { SHUTDOWN_RECEIVE } else { 0 };
        send | receive
    }

    fn host_stops_receiving(&mut self) {
        self.host_receives_no_more = true;
        let left = self.pending.iter().map(Vec::len).sum::<usize>() - self.pending_offset;
        self.pending.clear();
        self.pending_offset = 0;
        self.forwarded(left);
    }

    fn flush(&mut self) {
        while let Some(block) = self.pending.front() {
            let rest = block.get(self.pending_offset..).unwrap_or_default();
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::io::retry_on_intr(|| send(&self.stream, rest, flags)) {
                Ok(sent) if sent < rest.len() => {
                    self.pending_offset += sent;
                    self.forwarded(sent);
                }
                Ok(sent) => {
                    self.pending.pop_front();
                    self.pending_offset = 0;
                    self.forwarded(sent);
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    self.host_stops_receiving();
                    return;
                }
            }
        }
        self.end_of_guest_data();
    }

    /// Tells the host's reader of the end, once everything before it has been passed on.
    fn end_of_guest_data(&self) {
        if self.guest_sends_no_more && self.pending.is_empty() {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    fn forwarded(&mut self, bytes: usize) {
        // What is forwarded was received, which the credit bounds to 32 bits.
        self.credit.forward(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}
