//! Questions to a name server, as RFC 1035 writes them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::namespace::Namespace;

pub(crate) const TYPE_A: u8 = 1;
pub(crate) const TYPE_AAAA: u8 = 28;
pub(crate) const TYPE_PTR: u8 = 12;

/// Resolvers ask again: a datagram may be lost, and the host may be busy.
const TRIES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.extend([0, 0, kind, 0, 1]);
    query
}

/// Response code and addresses, in their order.
pub(crate) fn ask<const BYTES: usize, Address: From<[u8; BYTES]> + Ord>(
    namespace: &Namespace,
    server: impl Into<SocketAddr>,
    name: &str,
    kind: u8,
) -> (u8, Vec<Address>) {
    let query = question(name, kind);
    let asked = query.len();
    let answer = answer(namespace, server.into(), query);
    // A pointer to the name, type, class, time to live and length go before each address.
    let records = answer[asked..].chunks_exact(12 + BYTES);
    let mut addresses: Vec<Address> =
        records.map(|record| <[u8; BYTES]>::try_from(&record[12..]).unwrap().into()).collect();
    assert_eq!(usize::from(answer[7]), addresses.len());
    addresses.sort();
    (answer[3] & 15, addresses)
}

/// Response code and name behind an address.
pub(crate) fn name_of(
    namespace: &Namespace,
    server: impl Into<SocketAddr>,
    address: IpAddr,
) -> (u8, Option<String>) {
    let name = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]).rev();
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    };
    let query = question(&name, TYPE_PTR);
    let asked = query.len();
    let answer = answer(namespace, server.into(), query);
    let mut labels = Vec::new();
    let mut rest = answer.get(asked + 12..).unwrap_or_default();
    while let [length, after @ ..] = rest
        && *length > 0
    {
        let (label, after) = after.split_at((*length).into());
        labels.push(String::from_utf8(label.to_vec()).unwrap());
        rest = after;
    }
    (answer[3] & 15, (answer[7] == 1).then(|| labels.join(".")))
}

fn answer(namespace: &Namespace, server: SocketAddr, query: Vec<u8>) -> Vec<u8> {
    namespace.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 512];
        let received = (0..TRIES).find_map(|_| {
            socket.send_to(&query, server).unwrap();
            socket.recv(&mut buffer).ok()
        });
        buffer[..received.unwrap()].to_vec()
    })
}
