//! A container's attachment to a bridge.
//!
//! The bridge's end of a veth pair is in our namespace; the other end is alone in a namespace of its
//! own, with a packet socket bound to it. Whoever holds the socket (the VMM, which belongs to the
//! attacker) may bind it to any device of the socket's namespace, or send to any by sendto(2): there
//! is only this one. The socket keeps that namespace alive, so that the pair disappears with the VM.

use std::fs;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, sockopt};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use thiserror::Error;

use crate::firewall::{self, NEIGHBOURS, NEIGHBOURS6, PORTS, PORTS6, TARGETS6};
use crate::netlink::filter::Set;
use crate::netlink::link::{End, Pair};
use crate::netlink::{NetlinkError, Socket};

/// About 1,800 frames of 1,280 bytes: the guest's kernel wakes up in bursts.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const SEND_BUFFER_BYTES: usize = 1024 * 1024;
/// linux/if_packet.h
const PACKET_VNET_HDR: i32 = 15;
/// The far end's name in its own namespace.
const FAR_END: &str = "guest";

/// Why there is no port.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum PortError {
    /// unshare(2) or setns(2) failed.
    #[error("cannot make a network namespace")]
    Namespace(#[source] io::Error),
    /// IPv6 could not be turned off.
    #[error("cannot turn IPv6 off in a container's network namespace")]
    Ipv6(#[source] io::Error),
    /// The kernel refused the veth pair or its set element.
    #[error("cannot set up network device '{name}'")]
    Device {
        name: String,
        #[source]
        source: NetlinkError,
    },
    /// The packet socket failed.
    #[error("cannot open a packet socket on '{name}'")]
    Socket {
        name: String,
        #[source]
        source: io::Error,
    },
}

/// What a port shall be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) bridge_index: u32,
    pub(crate) address: Ipv4Addr,
    /// Absent on networks without IPv6.
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
}

/// What tells the rules of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) address: Ipv4Addr,
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) mac: [u8; 6],
}

impl Plan {
    pub(crate) fn identity(&self) -> Identity {
        Identity { address: self.address, address6: self.address6, mac: self.mac }
    }
}

impl Identity {
    /// Elements of sets that let the port send.
    fn elements(&self) -> Vec<(Set, Vec<u8>)> {
        let name = device_name(self.address);
        let address = IpAddr::V4(self.address);
        let mut elements = vec![
            (NEIGHBOURS, firewall::neighbour_key(self.mac, address)),
            (PORTS, firewall::port_key(&name, self.mac, address)),
        ];
        if let Some(address) = self.address6 {
            let key = |address: Ipv6Addr| firewall::port_key(&name, self.mac, address.into());
            let link_local = firewall::link_local(self.mac);
            elements.extend([
                (NEIGHBOURS6, firewall::neighbour_key(self.mac, address.into())),
                (PORTS6, key(address)),
                (PORTS6, key(link_local)),
                (TARGETS6, key(address)),
            ]);
        }
        elements
    }
}

/// A port with its packet socket.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) plan: Plan,
    pub(crate) socket: OwnedFd,
}

/// Name of the bridge's end, made from the address, which is unique among all our networks.
pub(crate) fn device_name(address: Ipv4Addr) -> String {
    format!("{}{:08x}", firewall::PORT, address.to_bits())
}

/// Locally administered and derived from the address: what others have in their ARP caches stays
/// true when an address is used again.
pub(crate) fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0xb8, a, b, c, d]
}

/// What it takes to make and remove ports; all of it belongs to our namespace.
#[derive(Debug)]
pub(crate) struct Plumbing {
    pub(crate) links: Socket,
    pub(crate) filters: Socket,
    namespace: OwnedFd,
}

impl Plumbing {
    /// To be called in our namespace.
    pub(crate) fn open() -> Result<Self, PortError> {
        let device = |source| PortError::Device { name: "lo".to_owned(), source };
        let namespace = fs::File::open("/proc/thread-self/ns/net").map_err(PortError::Namespace)?.into();
        Ok(Self {
            links: Socket::route().map_err(device)?,
            filters: Socket::netfilter().map_err(device)?,
            namespace,
        })
    }

    /// Makes a port; on failure nothing stays.
    pub(crate) fn create(&mut self, plan: Plan) -> Result<Port, PortError> {
        let name = device_name(plan.address);
        let outcome = self.attach(&name, &plan);
        // The namespace of the far end lives on by the packet socket.
        let back = move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| PortError::Namespace(error.into()));
        match (outcome, back) {
            (Ok(socket), Ok(())) => Ok(Port { plan, socket }),
            (Err(error), _) | (Ok(_), Err(error)) => {
                if let Err(error) = self.remove(&plan.identity()) {
                    tracing::warn!(name, "cannot clean up after a failed port: {error}");
                }
                Err(error)
            }
        }
    }

    fn attach(&mut self, name: &str, plan: &Plan) -> Result<OwnedFd, PortError> {
        let device = |source| PortError::Device { name: name.to_owned(), source };
        // SAFETY: only the calling thread's network namespace changes; descriptors stay shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|error| PortError::Namespace(error.into()))?;
        // Else the far end's own kernel would speak IPv6 (MLD, router solicitations) for the guest.
        match fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(PortError::Ipv6(error)),
            _ => {}
        }
        let far_namespace = fs::File::open("/proc/thread-self/ns/net").map_err(PortError::Namespace)?;
        self.links
            .add_pair(&Pair {
                near: End { name, mac: None, silent: false },
                far: End { name: FAR_END, mac: None, silent: true },
                far_namespace: far_namespace.as_fd(),
                mtu: plan.mtu,
                master: Some(plan.bridge_index),
                alias: "",
            })
            .map_err(device)?;
        Socket::route().and_then(|mut far| far.set_up(FAR_END)).map_err(device)?;
        // The port first: its news is what the bridge's link depends on.
        let port = self.links.link(name).map_err(device)?.index;
        for index in [port, plan.bridge_index] {
            self.links.spread_link(index).map_err(device)?;
        }
        self.admit(plan)?;
        packet_socket().map_err(|source| PortError::Socket { name: name.to_owned(), source })
    }

    /// Lets a port send from other addresses than it was made with; its IPv4 address stays.
    pub(crate) fn change(
        &mut self,
        plan: &Plan,
        mac: [u8; 6],
        address6: Option<Ipv6Addr>,
    ) -> Result<(), PortError> {
        self.refuse(&plan.identity())?;
        self.admit(&Plan { mac, address6, ..plan.clone() })
    }

    /// Lets an existing port send from its addresses.
    pub(crate) fn admit(&mut self, plan: &Plan) -> Result<(), PortError> {
        let mut admit = || {
            for (set, key) in plan.identity().elements() {
                self.filters.add_element(set, &key)?;
            }
            let addresses = std::iter::once(IpAddr::V4(plan.address)).chain(plan.address6.map(IpAddr::V6));
            for address in addresses {
                self.links.add_neighbour(plan.bridge_index, address, plan.mac)?;
            }
            Ok(())
        };
        admit().map_err(|source| PortError::Device { name: device_name(plan.address), source })
    }

    fn refuse(&mut self, identity: &Identity) -> Result<(), PortError> {
        for (set, key) in identity.elements() {
            self.filters
                .remove_element(set, &key)
                .map_err(|source| PortError::Device { name: device_name(identity.address), source })?;
        }
        Ok(())
    }

    /// Removes a port, whoever still holds its socket.
    pub(crate) fn remove(&mut self, identity: &Identity) -> Result<(), PortError> {
        let name = device_name(identity.address);
        self.links.delete_link(&name).map_err(|source| PortError::Device { name, source })?;
        self.refuse(identity)
    }
}

/// Opens the socket in the calling thread's namespace, bound to its only veth end.
fn packet_socket() -> io::Result<OwnedFd> {
    // Protocol 0 receives nothing until the socket is bound.
    let socket =
        rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // An ordinary user gets what net.core.rmem_max and wmem_max allow.
    match sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES) {
        Err(Errno::PERM) => sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES),
        outcome => outcome,
    }?;
    match sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER_BYTES) {
        Err(Errno::PERM) => sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES),
        outcome => outcome,
    }?;
    set_packet_option(&socket, libc::PACKET_IGNORE_OUTGOING)?;
    set_packet_option(&socket, libc::PACKET_QDISC_BYPASS)?;
    // Each frame is preceded by a `struct virtio_net_hdr`, which the kernel checks: checksums may be left
    // to the other end, and a frame may be a whole train of TCP segments.
    set_packet_option(&socket, PACKET_VNET_HDR)?;
    let index = netdevice::name_to_index(&socket, FAR_END)?;
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: `address` is readable for `length` bytes.
    let outcome = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if outcome == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn set_packet_option(socket: &OwnedFd, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    let length = libc::socklen_t::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: `on` is readable for `length` bytes.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const on).cast(), length)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
