//! What the rules refused, as the kernel tells it: nfnetlink_log, linux/netfilter/nfnetlink_log.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use crate::firewall::LOG_GROUP;
use crate::netlink::log::Log;
use crate::networks::Networks;

/// A packet that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) source: IpAddr,
    /// Port 0 if it has none.
    pub(crate) destination: SocketAddr,
    /// Of RFC 790.
    pub(crate) protocol: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const MINIMUM_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;

impl Refused {
    /// Parses the head of a packet.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..MINIMUM_HEADER_BYTES)?;
        match header[0] >> 4 {
            4 => {}
            6 => return Self::parse6(packet),
            _ => return None,
        }
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        let protocol = header[9];
        let is_later_fragment = u16::from_be_bytes([header[6] & 0x1f, header[7]]) != 0;
        let start = usize::from(header[0] & 0x0f) * 4 + 2;
        let port = match (protocol, packet.get(start..start + 2)) {
            (TCP | UDP, Some(port)) if !is_later_fragment => u16::from_be_bytes([port[0], port[1]]),
            _ => 0,
        };
        let destination = SocketAddr::new(address(16).into(), port);
        Some(Self { source: address(12).into(), destination, protocol })
    }

    /// What stands behind extension headers is told as the first of these.
    fn parse6(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..IPV6_HEADER_BYTES)?;
        let address = |at: usize| {
            let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(octets)))
        };
        let protocol = header[6];
        let port = match (protocol, packet.get(IPV6_HEADER_BYTES + 2..IPV6_HEADER_BYTES + 4)) {
            (TCP | UDP, Some(port)) => u16::from_be_bytes([port[0], port[1]]),
            _ => 0,
        };
        Some(Self { source: address(8)?, destination: SocketAddr::new(address(24)?, port), protocol })
    }

    /// "tcp", "icmp", "47".
    pub(crate) fn protocol_name(&self) -> String {
        match self.protocol {
            1 | 58 => "icmp".to_owned(),
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            other => other.to_string(),
        }
    }
}

/// Tells the networks what is refused, on a thread in the calling thread's namespace.
pub(crate) fn watch(networks: &Arc<Networks>) -> anyhow::Result<()> {
    let log = Log::open(LOG_GROUP)?;
    let networks = Arc::downgrade(networks);
    thread::Builder::new().name("refusals".to_owned()).spawn(move || {
        let ended = log.for_each(|packet| {
            let Some(networks) = networks.upgrade() else { return };
            if let Some(refused) = Refused::parse(packet) {
                networks.refused(&refused);
            }
        });
        tracing::error!("refusals are not told any more: {ended}");
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_says_where_it_wanted_to() {
        let mut packet = vec![0; 24];
        packet[0] = 0x45;
        packet[9] = TCP;
        packet[12..16].copy_from_slice(&[192, 168, 64, 2]);
        packet[16..20].copy_from_slice(&[203, 0, 113, 1]);
        packet[22..24].copy_from_slice(&443_u16.to_be_bytes());
        let refused = Refused::parse(&packet).unwrap();
        assert_eq!((refused.destination.to_string().as_str(), refused.protocol), ("203.0.113.1:443", TCP));
        packet[7] = 1;
        assert_eq!(Refused::parse(&packet).unwrap().destination.port(), 0);
        let mut packet = vec![0; 44];
        packet[..7].copy_from_slice(&[0x60, 0, 0, 0, 0, 4, UDP]);
        packet[8..24].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        packet[24..40].copy_from_slice(&Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9).octets());
        packet[42..44].copy_from_slice(&53_u16.to_be_bytes());
        let refused = Refused::parse(&packet).unwrap();
        assert_eq!((refused.destination.to_string().as_str(), refused.protocol), ("[fd00::9]:53", UDP));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Refused::parse(&bytes);
        }
    }
}
