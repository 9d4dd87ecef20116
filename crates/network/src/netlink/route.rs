//! Addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Message, attributes};
use super::{NetlinkError, Socket, flags};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

const FAMILY: u8 = 2;
const FAMILY6: u8 = 10;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::Ipv4 => FAMILY,
            Self::Ipv6 => FAMILY6,
        }
    }
}

/// `IFA_F_NODAD` of linux/if_addr.h: nobody else can have the address, so it need not be asked for.
const NO_DUPLICATES: u8 = 2;
/// Length of `struct rtmsg`.
const ROUTE_HEADER_BYTES: usize = 12;
/// A routing table of our namespace, for what a mark leads there.
const OWN_TABLE: u8 = 100;
/// Of the rule, after the table of own addresses and before the main one; ip-rule(8).
const RULE_PRIORITY: u32 = 100;
/// `FR_ACT_TO_TBL` of linux/fib_rules.h.
const TO_TABLE: u8 = 1;
/// `FRA_PRIORITY` and `FRA_FWMARK` of linux/fib_rules.h.
const PRIORITY: u16 = 6;
const MARK: u16 = 10;
/// Offsets of `rtm_protocol` and `rtm_type` in it.
const ROUTE_PROTOCOL: usize = 5;
const ROUTE_TYPE: usize = 7;
/// Of routes that lead the host to containers; none of linux/rtnetlink.h or /etc/iproute2/rt_protos.
const OWN_PROTOCOL: u8 = 184;

impl Socket {
    /// Gives a device an address.
    pub(crate) fn add_address(
        &mut self,
        link: u32,
        address: IpAddr,
        prefix_length: u8,
    ) -> Result<(), NetlinkError> {
        let (family, octets) = encoded(address);
        let mut header = [family, prefix_length, 0, 0, 0, 0, 0, 0];
        if address.is_ipv6() {
            header[2] = NO_DUPLICATES;
        }
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        let request = Message::new(libc::RTM_NEWADDR, creation(), &header)
            .attribute(libc::IFA_LOCAL, &octets)
            .attribute(libc::IFA_ADDRESS, &octets);
        self.request(&format!("add address {address}/{prefix_length}"), vec![request])
    }

    /// Pins the MAC address of a neighbour, so that it never has to be asked for.
    pub(crate) fn add_neighbour(
        &mut self,
        link: u32,
        address: IpAddr,
        mac: [u8; 6],
    ) -> Result<(), NetlinkError> {
        let (family, octets) = encoded(address);
        // struct ndmsg: family, padding, device, state, flags, type.
        let mut header = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        header[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
        let replace = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let request = Message::new(libc::RTM_NEWNEIGH, flags(replace), &header)
            .attribute(libc::NDA_DST, &octets)
            .attribute(libc::NDA_LLADDR, &mac);
        self.request(&format!("add neighbour {address}"), vec![request])
    }

    /// Sends everything without a better route to a gateway on a device.
    pub(crate) fn add_default_route(&mut self, gateway: IpAddr, link: u32) -> Result<(), NetlinkError> {
        let (family, octets) = encoded(gateway);
        let header = [
            family,
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
            .attribute(libc::RTA_GATEWAY, &octets)
            .number(libc::RTA_OIF, link);
        self.request(&format!("add a default route by {gateway}"), vec![request])
    }

    /// Delivers packets of a family with a mark here, whatever their destination; fine if that is so already.
    /// Documentation/networking/tproxy.rst of the kernel.
    pub(crate) fn keep_marked(&mut self, mark: u32, family: Family) -> Result<(), NetlinkError> {
        let loopback = self.link("lo")?.index;
        let family = family.number();
        // struct fib_rule_hdr: family, two prefix lengths, tos, table, two reserved, action, flags.
        let rule = [family, 0, 0, 0, OWN_TABLE, 0, 0, TO_TABLE, 0, 0, 0, 0];
        let rule = Message::new(libc::RTM_NEWRULE, creation(), &rule)
            .number(PRIORITY, RULE_PRIORITY)
            .number(MARK, mark);
        // struct rtmsg, as in `route`.
        let (protocol, scope) = (libc::RTPROT_STATIC, libc::RT_SCOPE_HOST);
        let route = [family, 0, 0, 0, OWN_TABLE, protocol, scope, libc::RTN_LOCAL, 0, 0, 0, 0];
        let route = Message::new(libc::RTM_NEWROUTE, creation(), &route).number(libc::RTA_OIF, loopback);
        for (what, message) in [("rule", rule), ("route", route)] {
            match self.request(&format!("add the {what} of answers to published ports"), vec![message]) {
                Err(error) if error.is_existing() => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// As [`Self::routed_subnets`], for IPv6.
    pub(crate) fn routed_subnets6(&mut self) -> Result<Vec<Subnet6>, NetlinkError> {
        self.destinations(Family::Ipv6, |_| true, destination6)
    }

    /// As [`Self::local_subnets`], for IPv6 but without link-local addresses; with those by which anybody finds a
    /// router (RFC 4291, section 2.6.1), which this is where it forwards.
    pub(crate) fn local_subnets6(&mut self) -> Result<Vec<Subnet6>, NetlinkError> {
        let is_own = |body: &[u8]| {
            body.get(ROUTE_TYPE).is_some_and(|kind| [libc::RTN_LOCAL, libc::RTN_ANYCAST].contains(kind))
        };
        let mut found = self.destinations(Family::Ipv6, is_own, destination6)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Sends what is for containers of a subnet to a gateway on a device.
    pub(crate) fn add_route(
        &mut self,
        subnet: Subnet,
        gateway: Ipv4Addr,
        link: u32,
    ) -> Result<(), NetlinkError> {
        let request = route(libc::RTM_NEWROUTE, creation(), subnet, gateway, link);
        self.request(&format!("add a route to {subnet}"), vec![request])
    }

    /// Removes such a route; fine if there is none.
    pub(crate) fn delete_route(
        &mut self,
        subnet: Subnet,
        gateway: Ipv4Addr,
        link: u32,
    ) -> Result<(), NetlinkError> {
        let delete = flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        let request = route(libc::RTM_DELROUTE, delete, subnet, gateway, link);
        match self.request(&format!("remove the route to {subnet}"), vec![request]) {
            Err(error) if error.is_missing() => Ok(()),
            outcome => outcome,
        }
    }

    /// Addresses that are the namespace's own.
    pub(crate) fn local_subnets(&mut self) -> Result<Vec<Subnet>, NetlinkError> {
        let is_own = |body: &[u8]| body.get(ROUTE_TYPE) == Some(&libc::RTN_LOCAL);
        let mut found = self.destinations(Family::Ipv4, is_own, destination)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Destinations of all routes in all tables, own addresses included, without default routes and those
    /// that lead to containers, of whatever installation: each has its subnets in a namespace of its own.
    pub(crate) fn routed_subnets(&mut self) -> Result<Vec<Subnet>, NetlinkError> {
        let is_of_others = |body: &[u8]| body.get(ROUTE_PROTOCOL) != Some(&OWN_PROTOCOL);
        self.destinations(Family::Ipv4, is_of_others, destination)
    }

    fn destinations<Found>(
        &mut self,
        family: Family,
        wanted: impl Fn(&[u8]) -> bool,
        destination: impl Fn(&[u8]) -> Option<Found>,
    ) -> Result<Vec<Found>, NetlinkError> {
        let mut header = [0; ROUTE_HEADER_BYTES];
        header[0] = family.number();
        let request =
            Message::new(libc::RTM_GETROUTE, flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP), &header);
        let mut found = Vec::new();
        self.query("list routes", request, |_, body| {
            found.extend(Some(body).filter(|body| wanted(body)).and_then(&destination));
        })?;
        Ok(found)
    }
}

fn route(kind: u16, request_flags: u16, subnet: Subnet, gateway: Ipv4Addr, link: u32) -> Message {
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags.
    let mut header = [0; ROUTE_HEADER_BYTES];
    header[..2].copy_from_slice(&[FAMILY, subnet.prefix_length()]);
    header[4..8].copy_from_slice(&[
        libc::RT_TABLE_MAIN,
        OWN_PROTOCOL,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
    ]);
    Message::new(kind, request_flags, &header)
        .attribute(libc::RTA_DST, &subnet.address(0).octets())
        .attribute(libc::RTA_GATEWAY, &gateway.octets())
        .number(libc::RTA_OIF, link)
}

/// Family and bytes of an address.
fn encoded(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (FAMILY, address.octets().to_vec()),
        IpAddr::V6(address) => (FAMILY6, address.octets().to_vec()),
    }
}

fn creation() -> u16 {
    flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL)
}

fn destination6(body: &[u8]) -> Option<Subnet6> {
    let prefix_length = *body.get(1)?;
    let (_, address) =
        attributes(body.get(ROUTE_HEADER_BYTES..)?).find(|(kind, _)| *kind == libc::RTA_DST)?;
    let address: [u8; 16] = address.try_into().ok()?;
    let address = Ipv6Addr::from(address);
    // Default in two halves, or 2000::/3 for all that is public; link-local and multicast are everywhere.
    if prefix_length < 4 || address.is_multicast() || address.is_unicast_link_local() {
        return None;
    }
    Subnet6::new(address, prefix_length)
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
