//! How those are answered who ask for what they may not reach.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bulkhead_network_control::{EgressPolicy, LeaseRequest, NetworkConfiguration, Request};
use support::guest::{Guest, RawGuest};
use support::namespace::run_program;
use support::packet::{checksum, ethernet, ipv4, udp};
use support::six::{HOST6, OUTSIDE6, blue, create, host_with_ipv6, network, on};
use support::{HOST, Host, OUTSIDE, SOON, plain};

const NEVER: Duration = Duration::from_millis(200);
/// The host's ends of the first uplink.
const UPLINK: Ipv4Addr = Ipv4Addr::new(100, 127, 192, 1);
const UPLINK6: Ipv6Addr = Ipv6Addr::new(0xfd62, 0x6c6b, 0x6864, 0, 0, 0, 0, 1);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const METADATA6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// Of the host's own services.
const SERVED: u16 = 9000;
const FREE: u16 = 9001;

/// What a program is told of a connection, and of a datagram: of that not every time, for kernels hold ICMP to one a
/// second.
fn told(guest: &Guest, address: IpAddr, port: u16) -> (ErrorKind, ErrorKind) {
    guest.namespace.run(move || {
        let stream = TcpStream::connect_timeout(&(address, port).into(), SOON).unwrap_err().kind();
        let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect((address, port)).unwrap();
        socket.set_read_timeout(Some(NEVER)).unwrap();
        let start = Instant::now();
        loop {
            let outcome = socket.send(b"hello").and_then(|_| socket.recv(&mut [0; 10]));
            let kind = outcome.unwrap_err().kind();
            if kind != ErrorKind::WouldBlock || start.elapsed() > SOON {
                return (stream, kind);
            }
        }
    })
}

fn internal(name: &str, third: u8, subnet6: &str) -> NetworkConfiguration {
    NetworkConfiguration { internal: true, ..network(name, third, subnet6) }
}

#[test]
fn whoever_asks_for_what_is_closed_is_told_so_at_once_and_of_all_alike() {
    let host = host_with_ipv6(true);
    host.host.run(|| run_program("ip", &["route", "add", "169.254.0.0/16", "via", &OUTSIDE.to_string()]));
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    create(&host, &daemon, network("red", 101, "fd00:101::/64"));
    create(&host, &daemon, internal("closed", 102, "fd00:102::/64"));
    let guest = Guest::new(host.lease_as(&daemon, on("blue", "one")).unwrap());
    let other = Guest::new(host.lease_as(&daemon, on("red", "two")).unwrap());
    let inside = Guest::new(host.lease_as(&daemon, on("closed", "three")).unwrap());
    let _served = host.host.run(|| TcpListener::bind(("::", SERVED)).unwrap());
    let _served_by_another = other.namespace.run(|| TcpListener::bind(("::", SERVED)).unwrap());
    let refused = (ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable);
    let prohibited = (ErrorKind::ConnectionRefused, ErrorKind::PermissionDenied);
    for port in [SERVED, FREE] {
        for address in [HOST, UPLINK, guest.gateway, other.gateway, other.address, METADATA] {
            assert_eq!(told(&guest, address.into(), port), refused, "{address}:{port}");
        }
        let (gateway, other_gateway) = (guest.gateway6.unwrap(), other.gateway6.unwrap());
        for address in [HOST6, UPLINK6, gateway, other_gateway, other.address6.unwrap(), METADATA6] {
            assert_eq!(told(&guest, address.into(), port), prohibited, "{address}:{port}");
        }
        for address in [HOST, OUTSIDE, inside.gateway, other.address] {
            assert_eq!(told(&inside, address.into(), port), refused, "{address}:{port} from within");
        }
        for address in [HOST6, OUTSIDE6, inside.gateway6.unwrap(), other.address6.unwrap()] {
            assert_eq!(told(&inside, address.into(), port), prohibited, "{address}:{port} from within");
        }
    }
}

#[test]
fn a_neighbour_that_a_policy_forbids_is_refused_aloud_and_hears_nothing() {
    let host = Host::new();
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    let peer = Guest::new(host.lease_as(&daemon, on("blue", "peer")).unwrap());
    let request = LeaseRequest { egress: Some(EgressPolicy { allow: vec![] }), ..on("blue", "none") };
    let none = Guest::new(host.lease_as(&daemon, request).unwrap());
    let _served = peer.namespace.run(|| TcpListener::bind(("::", SERVED)).unwrap());
    let heard = peer.namespace.run(|| UdpSocket::bind(("::", SERVED)).unwrap());
    let addresses = [IpAddr::from(peer.address), peer.address6.unwrap().into()];
    for (address, kind) in
        addresses.into_iter().zip([ErrorKind::HostUnreachable, ErrorKind::PermissionDenied])
    {
        assert_eq!(told(&none, address, SERVED), (ErrorKind::ConnectionRefused, kind), "{address}");
    }
    heard.set_read_timeout(Some(NEVER)).unwrap();
    assert!(heard.recv(&mut [0; 10]).is_err());
    // Again, of another policy, after one of the same address.
    drop(none);
    host.request(&daemon, Request::Release { container_id: "none".to_owned() }).unwrap();
    let none = Guest::new(host.lease_as(&daemon, on("blue", "again")).unwrap());
    assert!(
        none.namespace.run(move || TcpStream::connect_timeout(&(addresses[0], SERVED).into(), SOON)).is_ok()
    );
}

/// A segment that asks for a connection.
fn open_request(source: Ipv4Addr, target: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[..2].copy_from_slice(&40_000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    segment[12..16].copy_from_slice(&[0x50, 2, 0xff, 0xff]);
    let pseudo = [&source.octets()[..], &target.octets(), &[0, 6, 0, 20], &segment].concat();
    let sum = checksum(&pseudo);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(6, source, target, &segment)
}

#[test]
fn f73_floods_and_false_senders_are_not_answered() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = RawGuest::new(host.lease(&daemon, "one"));
    let victim = RawGuest::new(host.lease(&daemon, "victim"));
    let gateway = guest.find_gateway().unwrap();
    let answers = |frame: &[u8]| frame[12..14] == [8, 0] && (frame[23] == 6 || frame[23] == 1);
    // In another's name, for both kinds of answers.
    for target in [HOST, guest.gateway, METADATA, Ipv4Addr::new(192, 168, 99, 9)] {
        for source in [victim.address, HOST, guest.gateway, Ipv4Addr::new(192, 168, 64, 77)] {
            let segment = open_request(source, target, SERVED);
            guest.send(&ethernet(gateway, guest.mac, 0x0800, &segment));
            let datagram = ipv4(17, source, target, &udp((source, 1), (target, SERVED), b"hello"));
            guest.send(&ethernet(gateway, guest.mac, 0x0800, &datagram));
        }
    }
    assert!(victim.receive(NEVER, answers).is_none() && guest.receive(NEVER, answers).is_none());
    // What went to everybody, and resets, which would be answered for ever.
    let segment = open_request(guest.address, METADATA, SERVED);
    guest.send(&ethernet([0xff; 6], guest.mac, 0x0800, &segment));
    let mut reset = segment.clone();
    reset[33] = 4;
    guest.send(&ethernet(gateway, guest.mac, 0x0800, &reset));
    assert!(guest.receive(NEVER, answers).is_none());
    // So many in a second, of its own; the next container's are not fewer for it.
    let start = Instant::now();
    let mut answered = 0;
    for number in 0..3000_u16 {
        guest.send(&ethernet(gateway, guest.mac, 0x0800, &open_request(guest.address, METADATA, number)));
        if number % 50 == 0 {
            while guest.receive(Duration::from_millis(1), answers).is_some() {
                answered += 1;
            }
        }
    }
    let allowed = 200.0 * (start.elapsed().as_secs_f64() + 1.0);
    while guest.receive(NEVER, answers).is_some() {
        answered += 1;
    }
    assert!(answered > 100 && f64::from(answered) <= allowed * 1.1, "{answered} of 3000");
    let other = Guest::new(host.lease_as(&daemon, plain("other")).unwrap());
    assert_eq!(told(&other, METADATA.into(), SERVED).0, ErrorKind::ConnectionRefused);
}
