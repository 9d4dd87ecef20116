//! The number and addresses of an uplink.

use std::net::Ipv4Addr;

use super::{Registry, UplinkError};
use crate::firewall::HOST_UPLINK;
use crate::netlink::Socket;
use crate::subnet::Subnet;

/// How many uplinks a host can have.
const MAXIMUM_UPLINKS: u32 = 4096;
/// Ranges of 4096 /30 subnets, in order of preference: the end of the shared address space of
/// RFC 6598, which routers use between themselves as we do, then corners of the private ranges.
const RANGES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 127, 192, 0), Ipv4Addr::new(10, 255, 192, 0), Ipv4Addr::new(172, 31, 192, 0)];

/// What one uplink is called and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) number: u32,
    pub(super) subnet: Subnet,
    /// The host's end.
    pub(super) outer: Ipv4Addr,
    /// Our end.
    pub(super) inner: Ipv4Addr,
}

/// Name of the host's end.
pub(super) fn device(number: u32) -> String {
    format!("{HOST_UPLINK}{number}")
}

impl Addresses {
    /// The number of the process before, whose connections know its addresses, else the first one; its device
    /// and addresses are nobody's.
    pub(super) fn choose(
        earlier: Option<u32>,
        registry: &Registry,
        host_links: &mut Socket,
    ) -> Result<Self, UplinkError> {
        let taken_numbers = registry.entries()?;
        let routed = host_links.routed_subnets().map_err(UplinkError::Device)?;
        let links = host_links.links().map_err(UplinkError::Device)?;
        earlier
            .into_iter()
            .chain(0..MAXIMUM_UPLINKS)
            .filter(|number| !taken_numbers.contains(number))
            .filter(|number| !links.iter().any(|link| link.name == device(*number)))
            .find_map(|number| Self::of(number, &routed))
            .ok_or(UplinkError::Exhausted)
    }

    fn of(number: u32, routed: &[Subnet]) -> Option<Self> {
        RANGES.iter().find_map(|range| {
            let first = Ipv4Addr::from_bits(range.to_bits().checked_add(number.checked_mul(4)?)?);
            let subnet = Subnet::new(first, 30)?;
            (!routed.iter().any(|other| other.overlaps(subnet))).then_some(Self {
                number,
                subnet,
                outer: subnet.address(1),
                inner: subnet.address(2),
            })
        })
    }

    pub(super) fn device(&self) -> String {
        device(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ranges_are_avoided() {
        let free = Addresses::of(1, &[]).unwrap();
        assert_eq!((free.outer, free.inner), ([100, 127, 192, 5].into(), [100, 127, 192, 6].into()));
        let carrier = "100.64.0.0/10".parse().unwrap();
        assert_eq!(Addresses::of(1, &[carrier]).unwrap().inner, Ipv4Addr::new(10, 255, 192, 6));
        let private = "10.0.0.0/8".parse().unwrap();
        let other = "172.16.0.0/12".parse().unwrap();
        assert!(Addresses::of(1, &[carrier, private, other]).is_none());
    }
}
