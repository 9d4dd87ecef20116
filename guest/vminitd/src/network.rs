//! Loopback and the container's interfaces.

use std::net::IpAddr;

use bulkhead_guest_protocol::messages::NetworkInterface;
use rustix::io::Errno;
use thiserror::Error;

use crate::netlink::{Batch, Netlink, attributes};

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const LINK_HEADER_BYTES: usize = 16;
const LOOPBACK_INDEX: u32 = 1;

/// The network could not be configured.
#[derive(Debug, Error)]
pub(crate) enum NetworkError {
    #[error("cannot talk to rtnetlink")]
    Netlink(#[source] Errno),
    #[error("no interface with address {mac_address} for {name}")]
    NoInterface { name: String, mac_address: String },
    #[error("invalid address {text:?} of {name}")]
    InvalidAddress { name: String, text: String },
    #[error("cannot {action}")]
    Refused {
        action: String,
        #[source]
        source: Errno,
    },
}

/// A link that the kernel knows.
struct Link {
    index: u32,
    name: Vec<u8>,
    mac_address: Vec<u8>,
}

/// Brings up loopback and configures the interfaces: at most five system calls in all.
pub(crate) fn configure(interfaces: &[NetworkInterface]) -> Result<(), NetworkError> {
    let netlink = Netlink::open().map_err(NetworkError::Netlink)?;
    let mut batch = Batch::default();
    let mut actions = vec!["bring up the loopback interface".to_owned()];
    batch.request(RTM_NEWLINK, 0, &link_header(LOOPBACK_INDEX, IFF_UP));
    if !interfaces.is_empty() {
        let links = links(&netlink).map_err(NetworkError::Netlink)?;
        for interface in interfaces {
            add_interface(&mut batch, &mut actions, interface, &links)?;
        }
    }
    match netlink.send(&batch).map_err(NetworkError::Netlink)? {
        None => Ok(()),
        Some(refused) => {
            let action = actions.get(refused.request).cloned().unwrap_or_default();
            Err(NetworkError::Refused { action, source: refused.source })
        }
    }
}

fn links(netlink: &Netlink) -> Result<Vec<Link>, Errno> {
    let mut links = Vec::new();
    netlink.dump(RTM_GETLINK, &[0; LINK_HEADER_BYTES], |body| {
        let index = body.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let mut link = Link { index, name: Vec::new(), mac_address: Vec::new() };
        for (kind, value) in attributes(body.get(LINK_HEADER_BYTES..).unwrap_or_default()) {
            match kind {
                IFLA_IFNAME => link.name = value.strip_suffix(&[0]).unwrap_or(value).to_vec(),
                IFLA_ADDRESS => link.mac_address = value.to_vec(),
                _ => {}
            }
        }
        links.push(link);
    })?;
    Ok(links)
}

fn add_interface(
    batch: &mut Batch,
    actions: &mut Vec<String>,
    interface: &NetworkInterface,
    links: &[Link],
) -> Result<(), NetworkError> {
    let name = &interface.name;
    let link = links
        .iter()
        .find(|link| {
            if interface.mac_address.is_empty() {
                link.name == name.as_bytes()
            } else {
                link.mac_address == interface.mac_address
            }
        })
        .ok_or_else(|| NetworkError::NoInterface {
            name: name.clone(),
            mac_address: interface
                .mac_address
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(":"),
        })?;
    if link.name != name.as_bytes() {
        // A request of its own: a device that is up keeps its name in older kernels.
        let mut text = name.clone().into_bytes();
        text.push(0);
        batch.request(RTM_NEWLINK, 0, &link_header(link.index, 0)).attribute(IFLA_IFNAME, &text);
        actions.push(format!("name an interface {name}"));
    }
    batch.request(RTM_NEWLINK, 0, &link_header(link.index, IFF_UP));
    if interface.mtu != 0 {
        batch.attribute(IFLA_MTU, &interface.mtu.to_ne_bytes());
    }
    actions.push(format!("bring up {name}"));
    for text in &interface.addresses {
        let invalid = || NetworkError::InvalidAddress { name: name.clone(), text: text.clone() };
        let (address, prefix_length) = parse_address(text).ok_or_else(invalid)?;
        add_address(batch, link.index, address, prefix_length);
        actions.push(format!("add address {text} to {name}"));
    }
    for text in [&interface.ipv4_gateway, &interface.ipv6_gateway] {
        if text.is_empty() {
            continue;
        }
        let gateway: IpAddr = text
            .parse()
            .map_err(|_| NetworkError::InvalidAddress { name: name.clone(), text: text.clone() })?;
        add_default_route(batch, link.index, gateway);
        actions.push(format!("route through {text} on {name}"));
    }
    Ok(())
}

/// `struct ifinfomsg` with `flags` set and no other flag changed.
fn link_header(index: u32, flags: u32) -> [u8; LINK_HEADER_BYTES] {
    let mut header = [0; LINK_HEADER_BYTES];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn add_address(batch: &mut Batch, index: u32, address: IpAddr, prefix_length: u8) {
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let mut header = [0; 8];
    header[1] = prefix_length;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    match address {
        IpAddr::V4(address) => {
            header[0] = AF_INET;
            batch.request(RTM_NEWADDR, NLM_F_CREATE, &header);
            batch.attribute(IFA_LOCAL, &address.octets()).attribute(IFA_ADDRESS, &address.octets());
            if prefix_length < 31 {
                let broadcast = address.to_bits() | u32::MAX.checked_shr(prefix_length.into()).unwrap_or(0);
                batch.attribute(IFA_BROADCAST, &broadcast.to_be_bytes());
            }
        }
        IpAddr::V6(address) => {
            header[0] = AF_INET6;
            // The network gives each address to one VM: nothing to detect, and no second to wait.
            header[2] = IFA_F_NODAD;
            batch.request(RTM_NEWADDR, NLM_F_CREATE, &header).attribute(IFA_ADDRESS, &address.octets());
        }
    }
}

fn add_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags.
    let mut header = [0, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    // A gateway outside the interface's own prefix is a choice of the host.
    header[8..12].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    header[0] = if gateway.is_ipv4() { AF_INET } else { AF_INET6 };
    batch.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &header);
    match gateway {
        IpAddr::V4(gateway) => batch.attribute(RTA_GATEWAY, &gateway.octets()),
        IpAddr::V6(gateway) => batch.attribute(RTA_GATEWAY, &gateway.octets()),
    };
    batch.attribute(RTA_OIF, &index.to_ne_bytes());
}

/// "192.168.64.5/24"
fn parse_address(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix_length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix_length: u8 = prefix_length.parse().ok()?;
    let maximum = if address.is_ipv4() { 32 } else { 128 };
    (prefix_length <= maximum).then_some((address, prefix_length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_prefix_that_fits() {
        assert_eq!(parse_address("192.168.64.5/24"), Some(("192.168.64.5".parse().unwrap(), 24)));
        assert_eq!(parse_address("fd00::5/64"), Some(("fd00::5".parse().unwrap(), 64)));
        for text in ["192.168.64.5", "192.168.64.5/33", "fd00::/129", "a/24", "1.2.3.4/-1", ""] {
            assert_eq!(parse_address(text), None, "{text:?}");
        }
    }
}
