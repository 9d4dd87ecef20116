//! IPv4 addresses and routes.

use std::net::Ipv4Addr;

use super::message::{Message, attributes};
use super::{NetlinkError, Socket, flags};
use crate::subnet::Subnet;

const FAMILY: u8 = 2;
/// Length of `struct rtmsg`.
const ROUTE_HEADER_BYTES: usize = 12;

impl Socket {
    /// Gives a device an address.
    pub(crate) fn add_address(
        &mut self,
        link: u32,
        address: Ipv4Addr,
        prefix_length: u8,
    ) -> Result<(), NetlinkError> {
        let mut header = [FAMILY, prefix_length, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        let request = Message::new(libc::RTM_NEWADDR, creation(), &header)
            .attribute(libc::IFA_LOCAL, &address.octets())
            .attribute(libc::IFA_ADDRESS, &address.octets());
        self.request(&format!("add address {address}/{prefix_length}"), vec![request])
    }

    /// Pins the MAC address of a neighbour, so that it never has to be asked for.
    pub(crate) fn add_neighbour(
        &mut self,
        link: u32,
        address: Ipv4Addr,
        mac: [u8; 6],
    ) -> Result<(), NetlinkError> {
        // struct ndmsg: family, padding, device, state, flags, type.
        let mut header = [FAMILY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        header[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
        let replace = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let request = Message::new(libc::RTM_NEWNEIGH, flags(replace), &header)
            .attribute(libc::NDA_DST, &address.octets())
            .attribute(libc::NDA_LLADDR, &mac);
        self.request(&format!("add neighbour {address}"), vec![request])
    }

    /// Sends everything without a better route to a gateway.
    pub(crate) fn add_default_route(&mut self, gateway: Ipv4Addr) -> Result<(), NetlinkError> {
        let header = [
            FAMILY,
            0,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_STATIC,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let request = Message::new(libc::RTM_NEWROUTE, creation(), &header)
            .attribute(libc::RTA_GATEWAY, &gateway.octets());
        self.request(&format!("add a default route by {gateway}"), vec![request])
    }

    /// Destinations of all routes in all tables, own addresses included, without default routes.
    pub(crate) fn routed_subnets(&mut self) -> Result<Vec<Subnet>, NetlinkError> {
        let mut header = [0; ROUTE_HEADER_BYTES];
        header[0] = FAMILY;
        let request =
            Message::new(libc::RTM_GETROUTE, flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP), &header);
        let mut found = Vec::new();
        self.query("list routes", request, |_, body| found.extend(destination(body)))?;
        Ok(found)
    }
}

fn creation() -> u16 {
    flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL)
}

fn destination(body: &[u8]) -> Option<Subnet> {
    let prefix_length = *body.get(1)?;
    let (_, address) =
        attributes(body.get(ROUTE_HEADER_BYTES..)?).find(|(kind, _)| *kind == libc::RTA_DST)?;
    let address: [u8; 4] = address.try_into().ok()?;
    // Multicast and broadcast are nobody's subnet; "default" split in two halves (VPN clients do
    // that) is no reason to refuse every subnet.
    if prefix_length < 2 || Ipv4Addr::from(address).is_multicast() {
        return None;
    }
    Subnet::new(address.into(), prefix_length)
}
