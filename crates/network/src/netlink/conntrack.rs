//! Connections that the kernel remembers: linux/netfilter/nfnetlink_conntrack.h.

use std::net::IpAddr;

use super::filter::{Family, header, ignore_missing};
use super::message::{Message, attributes};
use super::{NetlinkError, Socket, flags};
use crate::firewall::octets;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
/// `struct nfgenmsg`
const HEADER_BYTES: usize = 4;

impl Socket {
    /// Has the kernel forget all connections in which an address of a container takes part.
    pub(crate) fn forget_connections(&mut self, address: IpAddr) -> Result<(), NetlinkError> {
        let family = if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let address = octets(address);
        let dump = flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP);
        let request =
            Message::new(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, dump, &header(family as u8, 0));
        let mut originals = Vec::new();
        self.query("list connections", request, |_, body| {
            let body = body.get(HEADER_BYTES..).unwrap_or_default();
            if takes_part(&address, body) {
                let original = attributes(body).find(|(kind, _)| *kind == CTA_TUPLE_ORIG);
                originals.extend(original.map(|(_, tuple)| tuple.to_vec()));
            }
        })?;
        for original in originals {
            let delete = flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
            let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
            let request = Message::new(kind, delete, &header(family as u8, 0))
                .nested(CTA_TUPLE_ORIG, |tuple| tuple.raw(&original));
            // It may end at any time.
            ignore_missing(self.request("forget a connection", vec![request]))?;
        }
        Ok(())
    }
}

/// Whether an address is among those of a connection, as its first packet has them or as answers do.
fn takes_part(address: &[u8], connection: &[u8]) -> bool {
    let tuples = attributes(connection).filter(|(kind, _)| [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY].contains(kind));
    let mut addresses = tuples
        .flat_map(|(_, tuple)| attributes(tuple).filter(|(kind, _)| *kind == CTA_TUPLE_IP))
        .flat_map(|(_, pair)| attributes(pair));
    addresses.any(|(_, octets)| octets == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_found_by_either_end() {
        let tuple = |kind: u16, from: [u8; 4], to: [u8; 4]| {
            let message = Message::new(0, 0, &[]).nested(kind, |tuple| {
                tuple.nested(CTA_TUPLE_IP, |pair| pair.attribute(1, &from).attribute(2, &to))
            });
            message.finish(0)[16..].to_vec()
        };
        let (inside, outside, uplink) = ([192, 168, 64, 2], [203, 0, 113, 1], [100, 127, 192, 2]);
        let connection =
            [tuple(CTA_TUPLE_ORIG, inside, outside), tuple(CTA_TUPLE_REPLY, outside, uplink)].concat();
        assert!(takes_part(&inside, &connection) && takes_part(&uplink, &connection));
        assert!(!takes_part(&[192, 168, 64, 3], &connection));
        assert!(!takes_part(&inside, &connection[..10]));
    }
}
