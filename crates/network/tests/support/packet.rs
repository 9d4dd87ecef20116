//! Frames made and read by hand.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

pub(crate) fn parse_mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

pub(crate) fn ethernet(destination: [u8; 6], source: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source[..], &kind.to_be_bytes(), payload].concat()
}

/// operation 1 is a request, 2 a reply.
pub(crate) fn arp(operation: u8, mac: [u8; 6], ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, operation][..], &mac, &ip.octets(), &[0; 6], &target.octets()].concat()
}

pub(crate) fn ipv4(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header = [0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0].to_vec();
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [&header, payload].concat()
}

pub(crate) fn echo_request(id: u16) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend(b"bulkhead");
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// UDP with a checksum.
pub(crate) fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut message = source.1.to_be_bytes().to_vec();
    message.extend(destination.1.to_be_bytes());
    message.extend(length.to_be_bytes());
    message.extend([0, 0]);
    message.extend(payload);
    let sum = transport_checksum(17, source.0, destination.0, &message).to_be_bytes();
    message[6..8].copy_from_slice(&sum);
    message
}

/// Zero if the segment's own checksum is right.
pub(crate) fn transport_checksum(
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    segment: &[u8],
) -> u16 {
    let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, protocol], &length].concat();
    checksum(&[&pseudo, segment].concat())
}

/// `next` is the protocol of the payload.
pub(crate) fn ipv6(next: u8, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    // Neighbours' messages must have this hop limit.
    let start = [0x60, 0, 0, 0, length[0], length[1], next, 255];
    [&start[..], &source.octets(), &destination.octets(), payload].concat()
}

/// A neighbour's question (135) or answer (136) about an address, with the option that tells a MAC
/// address (RFC 4861, sections 4.3, 4.4 and 4.6.1); without a checksum.
pub(crate) fn neighbour(kind: u8, target: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let option = if kind == 136 { 2 } else { 1 };
    [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets(), &[option, 1], &mac].concat()
}
