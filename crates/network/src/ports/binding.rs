//! Takes ports of the host. Runs on the host's thread: a socket belongs to the namespace of the
//! thread that opens it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use bulkhead_network_control::{PortRange, Protocol};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen, sockopt};
use thiserror::Error;

use super::destination;
use crate::firewall::while_none_starts;

/// Connections that the kernel has completed and nobody has accepted.
const BACKLOG: i32 = 1024;
/// Below are ports for privileged programs.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;
/// Tries to find free ports that follow each other, and to find some for a part of them.
const ATTEMPTS: usize = 64;
const ATTEMPTS_OF_PART: usize = 8;
/// Longer ranges are not had in parts: each try costs as much as there are ports.
const MAXIMUM_DIVIDED: u16 = 1024;

/// Why a port cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum BindError {
    /// Somebody has it.
    #[error("port {port} is in use")]
    InUse { address: IpAddr, port: u16, protocol: Protocol },
    /// No place for so many that follow each other.
    #[error("no {count} free ports in a row")]
    NoPlace { address: IpAddr, protocol: Protocol, count: u16 },
    /// Only root may.
    #[error("port {port} is privileged")]
    Privileged { port: u16 },
    /// The host has no such address.
    #[error("{address} is no address of this host")]
    NoAddress { address: IpAddr },
    /// Anything else.
    #[error("cannot bind host port {address}/{}", protocol.as_str())]
    Bind {
        address: SocketAddr,
        protocol: Protocol,
        #[source]
        source: io::Error,
    },
}

/// Sockets in the order of a range's ports.
#[derive(Debug)]
pub(super) struct Bound {
    /// With the ports that were chosen.
    pub(super) range: PortRange,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Binds every port of a range, or none. Free ones need not follow each other.
pub(super) fn bind(range: PortRange) -> Result<Vec<Bound>, BindError> {
    if range.host_port != 0 {
        return bind_from(range, range.host_port).map(|bound| vec![bound]);
    }
    divide(range, ATTEMPTS, &mut choose)
}

type Choose<'a> = dyn FnMut(PortRange) -> Result<Bound, BindError> + 'a;

fn divide(range: PortRange, attempts: usize, choose: &mut Choose<'_>) -> Result<Vec<Bound>, BindError> {
    let attempts = if range.count == 1 { 1 } else { attempts };
    for _ in 0..attempts {
        match choose(range) {
            Ok(bound) => return Ok(vec![bound]),
            // The kernel chose the first port; the ones after it may be taken.
            Err(BindError::InUse { .. } | BindError::NoPlace { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let PortRange { host_address: address, protocol, count, .. } = range;
    if !(2..=MAXIMUM_DIVIDED).contains(&count) {
        return Err(BindError::NoPlace { address, protocol, count });
    }
    let half = count / 2;
    let rest = PortRange { container_port: range.container_port + half, count: count - half, ..range };
    let mut bound = divide(PortRange { count: half, ..range }, ATTEMPTS_OF_PART, choose)?;
    bound.extend(divide(rest, ATTEMPTS_OF_PART, choose)?);
    Ok(bound)
}

fn choose(range: PortRange) -> Result<Bound, BindError> {
    let first = bind_one(range, 0)?;
    let failed = |source| BindError::Bind {
        address: SocketAddr::new(range.host_address, 0),
        protocol: range.protocol,
        source,
    };
    let address = rustix::net::getsockname(&first).map_err(|error| failed(error.into()))?;
    let address = SocketAddr::try_from(address).map_err(|error| failed(error.into()))?;
    if range.count == 1 {
        let range = PortRange { host_port: address.port(), ..range };
        return Ok(Bound { range, sockets: vec![first] });
    }
    if address.port().checked_add(range.count - 1).is_none() {
        let PortRange { host_address: address, protocol, count, .. } = range;
        return Err(BindError::NoPlace { address, protocol, count });
    }
    drop(first);
    bind_from(range, address.port())
}

fn bind_from(range: PortRange, first: u16) -> Result<Bound, BindError> {
    let ports = (0..range.count).map(|offset| first.saturating_add(offset));
    let sockets = ports.map(|port| bind_one(range, port)).collect::<Result<_, _>>()?;
    Ok(Bound { range: PortRange { host_port: first, ..range }, sockets })
}

fn bind_one(range: PortRange, port: u16) -> Result<OwnedFd, BindError> {
    let address = SocketAddr::new(range.host_address, port);
    let opened = match open(address, range.protocol) {
        // A socket that was closed just now may still be in a program that we are starting.
        Err(Errno::ADDRINUSE) => while_none_starts(|| open(address, range.protocol)),
        opened => opened,
    };
    opened.map_err(|error| match error {
        Errno::ADDRINUSE => BindError::InUse { address: range.host_address, port, protocol: range.protocol },
        Errno::ACCESS if port < FIRST_UNPRIVILEGED_PORT => BindError::Privileged { port },
        Errno::ADDRNOTAVAIL => BindError::NoAddress { address: range.host_address },
        error => BindError::Bind { address, protocol: range.protocol, source: error.into() },
    })
}

fn open(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] are published separately.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of an earlier run may still be in TIME_WAIT; two listeners stay impossible.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if protocol == Protocol::Udp && address.ip().is_unspecified() {
        destination::tell(socket.as_fd(), address.is_ipv4())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    }
    bind_socket(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn range(host_port: u16, count: u16, protocol: Protocol) -> PortRange {
        PortRange { host_address: Ipv4Addr::LOCALHOST.into(), host_port, container_port: 80, protocol, count }
    }

    #[test]
    fn f71_free_ports_are_found_and_taken_ones_are_named() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // Others of this host take ports at any time.
            assert!((0..ATTEMPTS).any(|_| {
                let Ok(bound) = choose(range(0, 3, protocol)) else { return false };
                assert_eq!(bound.sockets.len(), 3);
                let first = bound.range.host_port;
                assert!(first > 0);
                let last = first + 2;
                let error = bind(range(last, 1, protocol)).unwrap_err();
                assert!(matches!(error, BindError::InUse { port, .. } if port == last), "{error}");
                drop(bound);
                bind(range(first, 3, protocol)).is_ok()
            }));
        }
    }

    #[test]
    fn f71_where_there_is_no_row_of_free_ports_parts_are_found() {
        let wanted = range(0, 7, Protocol::Tcp);
        // As on a host with no more than two free ports beside each other.
        let mut next = 1000;
        let mut narrow = |range: PortRange| {
            if range.count > 2 {
                let PortRange { host_address: address, protocol, .. } = range;
                return Err(BindError::InUse { address, port: next, protocol });
            }
            next += 10;
            Ok(Bound { range: PortRange { host_port: next, ..range }, sockets: Vec::new() })
        };
        let parts = divide(wanted, ATTEMPTS, &mut narrow).unwrap();
        let ports: Vec<_> = parts.iter().map(|part| (part.range.container_port, part.range.count)).collect();
        assert_eq!(ports, [(80, 1), (81, 2), (83, 2), (85, 2)]);
        let mut full = |range: PortRange| {
            let PortRange { host_address: address, protocol, .. } = range;
            Err(BindError::InUse { address, port: 0, protocol })
        };
        for (count, missing) in [(1, 1), (7, 1), (2000, 2000)] {
            let outcome = divide(range(0, count, Protocol::Tcp), ATTEMPTS, &mut full);
            assert!(matches!(outcome, Err(BindError::NoPlace { count, .. }) if count == missing));
        }
        // As much as there are: never that many in a row.
        let outcome = bind(range(0, 65_535, Protocol::Tcp));
        assert!(matches!(outcome, Err(BindError::NoPlace { count: 65_535, .. })));
    }

    #[test]
    fn f71_both_families_can_have_the_same_port() {
        let any = PortRange { host_address: Ipv4Addr::UNSPECIFIED.into(), ..range(0, 1, Protocol::Tcp) };
        let bound = bind(any).unwrap().remove(0);
        let other = PortRange { host_address: Ipv6Addr::UNSPECIFIED.into(), ..bound.range };
        assert!(bind(other).is_ok());
        assert!(matches!(bind(bound.range), Err(BindError::InUse { .. })));
    }
}
