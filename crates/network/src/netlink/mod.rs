//! A small netlink client: links, addresses, routes and nftables set elements.
//!
//! A socket belongs to the network namespace of the thread that opened it, for good; that is how
//! one process manages several namespaces.

mod conntrack;
pub(crate) mod filter;
pub(crate) mod link;
pub(crate) mod log;
mod message;
pub(crate) mod route;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, netlink};
use thiserror::Error;

use message::{Message, messages, number_at};

/// The kernel fills dump datagrams up to 32 KiB.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE` and the same for IPv6 of linux/rtnetlink.h. An address is told of
/// before the route by which it is the host's own.
const ADDRESS_CHANGES: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// `1 << (NFNLGRP_NFTABLES - 1)` of linux/netfilter/nfnetlink.h.
const RULE_CHANGES: u32 = 1 << 6;

/// Why the kernel did not do what it was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum NetlinkError {
    /// socket(2) failed.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The socket failed.
    #[error("cannot talk to the kernel to {operation}")]
    Transfer {
        operation: String,
        #[source]
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("cannot {operation}")]
    Refused {
        operation: String,
        #[source]
        source: io::Error,
    },
    /// The answer lacks what it must have.
    #[error("the kernel's answer makes no sense: {operation}")]
    Malformed { operation: String },
}

impl NetlinkError {
    /// The object is there already.
    pub(crate) fn is_existing(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        source.raw_os_error() == Some(libc::EEXIST)
    }

    /// The object is not there (any more).
    pub(crate) fn is_missing(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::ESRCH))
    }
}

/// A netlink socket of one protocol in one network namespace.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// For links, addresses and routes of the calling thread's namespace.
    pub(crate) fn route() -> Result<Self, NetlinkError> {
        // NETLINK_ROUTE is 0, the default protocol.
        Self::open(None)
    }

    /// One that hears when addresses come and go, and is asked for nothing: answers would hide that.
    pub(crate) fn address_changes() -> Result<Self, NetlinkError> {
        Self::route()?.of_groups(ADDRESS_CHANGES)
    }

    /// As [`Self::address_changes`], for tables, chains and rules of nftables.
    pub(crate) fn rule_changes() -> Result<Self, NetlinkError> {
        Self::netfilter()?.of_groups(RULE_CHANGES)
    }

    fn of_groups(self, groups: u32) -> Result<Self, NetlinkError> {
        rustix::net::bind(&self.socket, &netlink::SocketAddrNetlink::new(0, groups))
            .map_err(|error| NetlinkError::Open(error.into()))?;
        Ok(self)
    }

    /// Returns when something has changed, or may have.
    pub(crate) fn wait_for_change(&self) {
        // More changes than the socket holds are an error, and a change.
        drop(self.receive("hear of changes", &mut [0; 64]));
    }

    /// For nftables of the calling thread's namespace.
    pub(crate) fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, NetlinkError> {
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
                .map_err(|error| NetlinkError::Open(error.into()))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends requests as one datagram and waits for every acknowledgement that they ask for.
    ///
    /// # Errors
    /// The first refusal; `operation` completes "cannot …".
    fn request(&mut self, operation: &str, requests: Vec<Message>) -> Result<(), NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let mut missing = requests.iter().filter(|request| request.wants_acknowledgement()).count();
        self.send(operation, requests)?;
        let mut buffer = vec![0; RECEIVE_BUFFER_BYTES];
        while missing > 0 {
            let length = self.receive(operation, &mut buffer)?;
            for received in messages(&buffer[..length]) {
                // Answers to earlier, given up requests may still be queued.
                if received.sequence < first || i32::from(received.kind) != libc::NLMSG_ERROR {
                    continue;
                }
                refusal(operation, received.body)?;
                missing = missing.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Sends one request and hands the type and body of each answer to `visit`.
    fn query(
        &mut self,
        operation: &str,
        request: Message,
        mut visit: impl FnMut(u16, &[u8]),
    ) -> Result<(), NetlinkError> {
        self.send(operation, vec![request])?;
        let mut buffer = vec![0; RECEIVE_BUFFER_BYTES];
        loop {
            let length = self.receive(operation, &mut buffer)?;
            for received in messages(&buffer[..length]) {
                if received.sequence != self.sequence {
                    continue;
                }
                match i32::from(received.kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    // A single object ends with the acknowledgement.
                    libc::NLMSG_ERROR => return refusal(operation, received.body),
                    _ => visit(received.kind, received.body),
                }
            }
        }
    }

    fn send(&mut self, operation: &str, requests: Vec<Message>) -> Result<(), NetlinkError> {
        let mut datagram = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            datagram.extend(request.finish(self.sequence));
        }
        rustix::io::write(&self.socket, &datagram)
            .map(drop)
            .map_err(|error| NetlinkError::Transfer { operation: operation.to_owned(), source: error.into() })
    }

    fn receive(&self, operation: &str, buffer: &mut [u8]) -> Result<usize, NetlinkError> {
        loop {
            match rustix::io::read(&self.socket, &mut *buffer) {
                Ok(length) => return Ok(length),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    return Err(NetlinkError::Transfer {
                        operation: operation.to_owned(),
                        source: error.into(),
                    });
                }
            }
        }
    }
}

/// `struct nlmsgerr` starts with a negative error number or zero.
fn refusal(operation: &str, body: &[u8]) -> Result<(), NetlinkError> {
    match number_at(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(number) => Err(NetlinkError::Refused {
            operation: operation.to_owned(),
            source: io::Error::from_raw_os_error(number.saturating_neg()),
        }),
        None => Err(NetlinkError::Malformed { operation: operation.to_owned() }),
    }
}

/// Request flags of linux/netlink.h as the 16 bits that they are on the wire.
const fn flags(value: i32) -> u16 {
    let bytes = value.to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]])
}
