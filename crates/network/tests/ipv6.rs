//! Networks with IPv6.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bulkhead_network_control::{
    ClientError, EgressPolicy, EgressRule, EgressTarget, FailureCode, LeaseRequest, PortSpan, Protocol,
    Reply, Request,
};
use rustix::net::{AddressFamily, Protocol as SocketProtocol, SendFlags, SocketType, sendto, sockopt};
use support::guest::{Guest, RawGuest};
use support::namespace::Namespace;
use support::packet::{checksum, ethernet, ipv6, neighbour};
use support::published::{ANY6, port, publish_on};
use support::query::{self, TYPE_AAAA};
use support::six::{HOST6 as HOST, OUTSIDE6 as OUTSIDE, blue, create, host_with_ipv6, network, on};
use support::{Host, SOON, plain, restoration};

const NEVER: Duration = Duration::from_millis(200);
const PORT: u16 = 8080;
/// The host's end of the first uplink.
const UPLINK: Ipv6Addr = Ipv6Addr::new(0xfd62, 0x6c6b, 0x6864, 0, 0, 0, 0, 1);
const ETHERNET_TYPE: u16 = 0x86dd;

/// Answers every connection with the address that it comes from.
fn serve(namespace: &Namespace) {
    let listener = namespace.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_string();
            let _gone = stream.write_all(peer.as_bytes());
        }
    });
}

/// Where the server sees the connection come from.
fn seen_by(namespace: &Namespace, server: Ipv6Addr, limit: Duration) -> Option<IpAddr> {
    namespace.run(move || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((server, PORT)), limit).ok()?;
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.parse().ok()
    })
}

/// AAAA records of a name.
fn ask(guest: &Guest, name: &str) -> Vec<Ipv6Addr> {
    query::ask(&guest.namespace, (guest.gateway, 53), name, TYPE_AAAA).1
}

/// Whether an echo request is answered.
fn pings(guest: &Guest, address: Ipv6Addr) -> bool {
    guest.namespace.run(move || {
        let icmp = Some(rustix::net::ipproto::ICMPV6);
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::RAW, icmp).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(NEVER)).unwrap();
        let limit = Instant::now() + NEVER;
        // Echo request and reply of RFC 4443; the kernel adds the checksum.
        let request = [128, 0, 0, 0, 7, 7, 0, 1];
        if sendto(&socket, &request, SendFlags::empty(), &SocketAddr::from((address, 0))).is_err() {
            return false;
        }
        while Instant::now() < limit {
            let mut buffer = [0; 64];
            if rustix::io::read(&socket, &mut buffer).is_ok() && buffer[0] == 129 && buffer[4] == 7 {
                return true;
            }
        }
        false
    })
}

fn pings_soon(guest: &Guest, address: Ipv6Addr) -> bool {
    let limit = Instant::now() + SOON;
    while Instant::now() < limit {
        if pings(guest, address) {
            return true;
        }
    }
    false
}

#[test]
fn containers_of_a_network_reach_each_other_by_ipv6_also_after_a_restart() {
    let host = Host::new();
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    create(&host, &daemon, network("red", 101, "fd00:101::/64"));
    let wish = LeaseRequest { ipv6_address: "fd00:100::5".parse().ok(), ..on("blue", "one") };
    let (lease, socket) = host.lease_as(&daemon, wish.clone()).unwrap();
    assert_eq!(lease.ipv6_address.as_deref(), Some("fd00:100::5/64"));
    assert_eq!(lease.ipv6_gateway, "fd00:100::1".parse().ok());
    let first = restoration(&plain("one"), &lease);
    let one = Guest::new((lease, socket));
    let (lease, socket) = host.lease_as(&daemon, on("blue", "two")).unwrap();
    let second = restoration(&plain("two"), &lease);
    let two = Guest::new((lease, socket));
    let other = Guest::new(host.lease_as(&daemon, on("red", "three")).unwrap());
    for guest in [&one, &two, &other] {
        serve(&guest.namespace);
    }
    let [first6, second6, other6] = [&one, &two, &other].map(|guest| guest.address6.unwrap());
    assert_eq!(seen_by(&two.namespace, first6, SOON), Some(second6.into()));
    assert_eq!(seen_by(&one.namespace, second6, SOON), Some(first6.into()));
    assert_eq!((ask(&one, "two"), ask(&two, "one")), (vec![second6], vec![first6]));
    assert_eq!(ask(&one, "host.container.internal"), vec![one.gateway6.unwrap()]);
    assert!(pings_soon(&one, one.gateway6.unwrap()) && !pings(&one, other.gateway6.unwrap()));
    assert_eq!(seen_by(&one.namespace, other6, NEVER), None);

    let refused = |wish: LeaseRequest| match host.lease_as(&daemon, wish) {
        Err(ClientError::Refused(failure)) => failure,
        outcome => panic!("{outcome:?}"),
    };
    let late =
        |address: Ipv6Addr| refused(LeaseRequest { ipv6_address: Some(address), ..on("blue", "late") });
    assert_eq!(late(first6).message, "address fd00:100::5 of network 'blue' belongs to container 'one'");
    for bad in [second6, other6, one.gateway6.unwrap()] {
        assert_eq!(late(bad).code, FailureCode::InvalidArgument, "{bad}");
    }
    let overlapping = network("green", 102, "fd00:100::/48");
    assert!(host.request(&daemon, Request::CreateNetwork(overlapping)).is_err());

    daemon.kill();
    assert_eq!(seen_by(&two.namespace, first6, SOON), Some(second6.into()));
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    for restored in [first, second] {
        host.request(&daemon, Request::Restore(restored)).unwrap();
    }
    let container_ids = vec!["one".to_owned(), "two".to_owned()];
    host.request(&daemon, Request::Retain { container_ids }).unwrap();
    assert_eq!(seen_by(&two.namespace, first6, SOON), Some(second6.into()));
    assert_eq!(ask(&one, "two"), vec![second6]);
    assert!(pings_soon(&two, two.gateway6.unwrap()));
    // An address is free the moment its container has ended.
    drop(one);
    host.request(&daemon, Request::Release { container_id: "one".to_owned() }).unwrap();
    let (lease, _socket) = host.lease_as(&daemon, wish).unwrap();
    assert_eq!(lease.ipv6_address.as_deref(), Some("fd00:100::5/64"));
}

#[test]
fn ipv6_leads_outside_on_a_host_that_forwards_it_and_nowhere_else() {
    for forwards in [true, false] {
        let host = host_with_ipv6(forwards);
        serve(&host.outside);
        serve(&host.host);
        let daemon = host.start("a");
        create(&host, &daemon, blue());
        let guest = Guest::new(host.lease_as(&daemon, on("blue", "one")).unwrap());
        let seen = seen_by(&guest.namespace, OUTSIDE, if forwards { SOON } else { NEVER });
        assert_eq!(seen, forwards.then_some(HOST.into()));
        // The host's services, by whatever address.
        for address in [HOST, UPLINK] {
            assert_eq!(seen_by(&guest.namespace, address, NEVER), None, "{address}");
        }
        drop(daemon);
        assert!(!host.rules().contains("bulkhead") && !host.devices().contains("bhu"));
        assert!(!host.has_uplinks(), "a folder is left");
    }
}

/// A datagram in the frame of a guest for its gateway.
fn datagram(guest: &RawGuest, gateway: [u8; 6], destination: Ipv6Addr) -> Vec<u8> {
    let source = guest.address6.unwrap();
    let mut message = [0, 9, 0, 9, 0, 8, 0, 0];
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, 0, 0, 8, 0, 0, 0, 17]].concat();
    let sum = checksum(&[&pseudo[..], &message].concat());
    message[6..].copy_from_slice(&sum.to_be_bytes());
    ethernet(gateway, guest.mac, ETHERNET_TYPE, &ipv6(17, source, destination, &message))
}

#[test]
fn addresses_that_stand_for_ipv4_lead_nowhere() {
    let host = host_with_ipv6(true);
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    let guest = RawGuest::new(host.lease_as(&daemon, on("blue", "one")).unwrap());
    let gateway = guest.find_gateway().unwrap();
    let wire = host.host.run(|| {
        let protocol = SocketProtocol::from_raw(u32::from(ETHERNET_TYPE.to_be()).try_into().unwrap());
        let socket = rustix::net::socket(AddressFamily::PACKET, SocketType::DGRAM, Some(protocol)).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(NEVER)).unwrap();
        socket
    });
    let passes = |destination: Ipv6Addr, limit: Duration| {
        let limit = Instant::now() + limit;
        while Instant::now() < limit {
            guest.send(&datagram(&guest, gateway, destination));
            let mut packet = [0; 100];
            while let Ok(length) = rustix::io::read(&wire, &mut packet) {
                if length >= 40 && packet[24..40] == destination.octets() {
                    return true;
                }
            }
        }
        false
    };
    assert!(passes(OUTSIDE, SOON));
    for address in ["::ffff:127.0.0.1", "::ffff:203.0.113.2", "::127.0.0.1", "::ffff:0:203.0.113.2"] {
        assert!(!passes(address.parse().unwrap(), NEVER), "{address}");
    }
    assert!(passes(OUTSIDE, SOON));
}

#[test]
fn f73_nobody_speaks_for_another_by_ipv6() {
    let host = Host::new();
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    let evil = RawGuest::new(host.lease_as(&daemon, on("blue", "evil")).unwrap());
    let victim = RawGuest::new(host.lease_as(&daemon, on("blue", "victim")).unwrap());
    let (own, other) = (evil.address6.unwrap(), victim.address6.unwrap());
    let gateway: Ipv6Addr = "fd00:100::1".parse().unwrap();
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let link_local = |mac: [u8; 6]| -> Ipv6Addr {
        let [a, b, c, d, e, f] = mac;
        let [a, b, c, d, e, f] = [a ^ 2, b, c, d, e, f].map(u16::from);
        Ipv6Addr::new(0xfe80, 0, 0, 0, a << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
    };
    let from_evil = |frame: &[u8]| frame[6..12] == evil.mac && frame[12..14] == ETHERNET_TYPE.to_be_bytes();
    let send = |next: u8, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]| {
        evil.send(&ethernet(victim.mac, evil.mac, ETHERNET_TYPE, &ipv6(next, source, destination, payload)));
    };
    let datagram = [0, 1, 0, 2, 0, 8, 0, 0];
    let router = [&[134, 0, 0, 0, 64, 0, 7, 8][..], &[0; 8]].concat();
    // What it may: as itself, in question and answer.
    let question = neighbour(135, other, evil.mac);
    for (next, source, payload) in [
        (17, own, &datagram[..]),
        (58, own, &neighbour(136, own, evil.mac)),
        (58, own, &question),
        (58, link_local(evil.mac), &question),
    ] {
        send(next, source, other, payload);
        assert!(victim.receive(SOON, from_evil).is_some(), "{source} {payload:?}");
    }
    // What it may not.
    let behind_an_option = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &neighbour(136, gateway, evil.mac)].concat();
    for (next, source, payload) in [
        (17, other, &datagram[..]),
        (17, gateway, &datagram),
        (17, Ipv6Addr::UNSPECIFIED, &datagram),
        (17, link_local(evil.mac), &datagram),
        (58, own, &neighbour(136, gateway, evil.mac)),
        (58, own, &neighbour(136, other, evil.mac)),
        (58, own, &neighbour(136, own, victim.mac)),
        (58, own, &neighbour(136, own, evil.mac)[..24]),
        (58, gateway, &neighbour(136, gateway, evil.mac)),
        (58, link_local(victim.mac), &question),
        (58, link_local(evil.mac), &router),
        (58, own, &router),
        (58, link_local(evil.mac), &neighbour(136, own, evil.mac)),
        (0, own, &behind_an_option),
    ] {
        send(next, source, other, payload);
        send(next, source, all, payload);
        assert!(victim.receive(NEVER, from_evil).is_none(), "{source} {payload:?}");
    }
    send(17, own, link_local(victim.mac), &datagram);
    assert!(victim.receive(NEVER, from_evil).is_none());
}

#[test]
fn egress_policies_judge_ipv6() {
    let host = host_with_ipv6(true);
    serve(&host.outside);
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    let subnet = |address: Ipv6Addr, port: u16| EgressRule {
        target: EgressTarget::Subnet { address: address.into(), prefix_length: 128 },
        ports: Some(PortSpan { first: port, last: port }),
    };
    let named = EgressRule { target: EgressTarget::Name { name: "named".to_owned() }, ports: None };
    let policy = |allow: Vec<EgressRule>| Some(EgressPolicy { allow });
    let address: Ipv6Addr = "fd00:100::7".parse().unwrap();
    let open = LeaseRequest { ipv6_address: Some(address), ..on("blue", "open") };
    let open = Guest::new(host.lease_as(&daemon, open).unwrap());
    let by_name = Guest::new(host.lease_as(&daemon, on("blue", "named")).unwrap());
    let request = LeaseRequest { egress: policy(vec![subnet(address, PORT), named]), ..on("blue", "bound") };
    let bound = Guest::new(host.lease_as(&daemon, request).unwrap());
    let none = LeaseRequest { egress: policy(vec![]), ..on("blue", "none") };
    let none = Guest::new(host.lease_as(&daemon, none).unwrap());
    for guest in [&open, &by_name, &bound] {
        serve(&guest.namespace);
    }
    let [named6, bound6] = [&by_name, &bound].map(|guest| guest.address6.unwrap());
    assert_eq!(seen_by(&bound.namespace, address, SOON), Some(bound6.into()));
    assert_eq!(seen_by(&bound.namespace, named6, NEVER), None);
    assert_eq!(ask(&bound, "named"), vec![named6]);
    assert_eq!(seen_by(&bound.namespace, named6, SOON), Some(bound6.into()));
    // Others may ask it, and hear its answers.
    assert!(seen_by(&open.namespace, bound6, SOON).is_some());
    for server in [OUTSIDE, address] {
        assert_eq!(seen_by(&none.namespace, server, NEVER), None, "{server}");
    }
    assert_eq!(seen_by(&bound.namespace, OUTSIDE, NEVER), None);
    let mut told = Vec::new();
    while told.len() < 4 {
        let Reply::Denials(some) = host.request(&daemon, Request::Denials).unwrap().0 else { panic!() };
        for one in some {
            let one = (one.container_id, one.destination);
            if !told.contains(&one) {
                told.push(one);
            }
        }
    }
    told.sort();
    let port = |address: Ipv6Addr| SocketAddr::from((address, PORT)).to_string();
    let expected = [("bound", OUTSIDE), ("bound", named6), ("none", OUTSIDE), ("none", address)];
    let mut expected = expected.map(|(id, address)| (id.to_owned(), port(address)));
    expected.sort();
    assert_eq!(told, expected);
    // Nothing of a policy stays behind: the next container is free.
    for id in ["none", "bound"] {
        host.request(&daemon, Request::Release { container_id: id.to_owned() }).unwrap();
    }
    host.request(&daemon, Request::Release { container_id: "open".to_owned() }).unwrap();
    drop((open, bound, none));
    let again = LeaseRequest { ipv6_address: Some(address), ..on("blue", "again") };
    let again = Guest::new(host.lease_as(&daemon, again).unwrap());
    assert_eq!(seen_by(&again.namespace, OUTSIDE, SOON), Some(HOST.into()));
}

/// What a server that a client comes to by IPv6 takes it for, by a stream and by datagrams.
fn taken_for(client: Ipv6Addr, host: Ipv6Addr, [streams, datagrams]: [u16; 2]) -> [String; 2] {
    let mut stream = TcpStream::connect((host, streams)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut by_stream = String::new();
    stream.read_to_string(&mut by_stream).unwrap();
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.connect((host, datagrams)).unwrap();
    socket.set_read_timeout(Some(NEVER)).unwrap();
    let mut answer = [0; 64];
    // The first one may be refused: that is how it is known where nobody listens.
    let (limit, mut length) = (Instant::now() + SOON, None);
    while length.is_none() {
        assert!(Instant::now() < limit, "no answer to datagrams");
        socket.send(b"who").unwrap();
        length = socket.recv(&mut answer).ok();
    }
    [by_stream, String::from_utf8(answer[..length.unwrap()].to_vec()).unwrap()]
}

#[test]
fn who_comes_by_ipv6_to_a_published_port_is_led_to_where_the_server_listens() {
    let host = host_with_ipv6(false);
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    for id in ["six", "four"] {
        let guest = Guest::new(host.lease_as(&daemon, on("blue", id)).unwrap());
        let listens: IpAddr = match id {
            "six" => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let listener = guest.namespace.run(move || TcpListener::bind((listens, 7000)).unwrap());
        let server = guest.namespace.run(move || UdpSocket::bind((listens, 7000)).unwrap());
        std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
            }
        });
        std::thread::spawn(move || {
            while let Ok((_, peer)) = server.recv_from(&mut [0; 10]) {
                server.send_to(peer.ip().to_string().as_bytes(), peer).unwrap();
            }
        });
        let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| port(ANY6, 0, protocol));
        let ports = publish_on("blue", &host, &daemon, id, &ports).unwrap();
        let ports = [0, 1].map(|index| ports[index].host_port);
        let far = host.outside.run(move || taken_for(OUTSIDE, HOST, ports));
        let near = host.host.run(move || taken_for(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, ports));
        let (gateway, client) = match id {
            "six" => (guest.gateway6.unwrap().to_string(), OUTSIDE.to_string()),
            _ => (guest.gateway.to_string(), guest.gateway.to_string()),
        };
        assert_eq!(near, [gateway.as_str(); 2], "from the host to {id}");
        assert_eq!(far, [client.as_str(); 2], "from outside to {id}");
    }
}
