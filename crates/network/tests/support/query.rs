//! Questions to a name server, as RFC 1035 writes them.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::namespace::Namespace;

pub(crate) const TYPE_A: u8 = 1;
pub(crate) const TYPE_AAAA: u8 = 28;

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
    let (query, server) = (question(name, kind), server.into());
    let asked = query.len();
    let answer = namespace.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 512];
        let received = (0..TRIES).find_map(|_| {
            socket.send_to(&query, server).unwrap();
            socket.recv(&mut buffer).ok()
        });
        buffer[..received.unwrap()].to_vec()
    });
    // A pointer to the name, type, class, time to live and length go before each address.
    let records = answer[asked..].chunks_exact(12 + BYTES);
    let mut addresses: Vec<Address> =
        records.map(|record| <[u8; BYTES]>::try_from(&record[12..]).unwrap().into()).collect();
    assert_eq!(usize::from(answer[7]), addresses.len());
    addresses.sort();
    (answer[3] & 15, addresses)
}
