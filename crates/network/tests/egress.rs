//! What containers with an egress policy reach, and what they do not.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bulkhead_network_control::{
    Denial, EgressPolicy, EgressRule, EgressTarget, LeaseRequest, PortRange, PortSpan, Protocol,
    PublishRequest, Reply, Request,
};
use support::guest::{Guest, RawGuest};
use support::packet::{BROADCAST, echo_request, ethernet, ipv4, udp};
use support::query::{TYPE_A, question};
use support::{Daemon, Host, OUTSIDE, SOON, default_network, plain, restoration};

const NEVER: Duration = Duration::from_millis(200);
const REFUSED: u8 = 5;

fn name(name: &str, port: Option<u16>) -> EgressRule {
    rule(EgressTarget::Name { name: name.to_owned() }, port)
}

fn subnet(address: Ipv4Addr, prefix_length: u8, port: Option<u16>) -> EgressRule {
    rule(EgressTarget::Subnet { address: address.into(), prefix_length }, port)
}

fn rule(target: EgressTarget, port: Option<u16>) -> EgressRule {
    EgressRule { target, ports: port.map(|port| PortSpan { first: port, last: port }) }
}

fn limited(id: &str, allow: &[EgressRule]) -> LeaseRequest {
    LeaseRequest { egress: Some(EgressPolicy { allow: allow.to_vec() }), ..plain(id) }
}

fn denials(host: &Host, daemon: &Daemon) -> Vec<Denial> {
    match host.request(daemon, Request::Denials).unwrap().0 {
        Reply::Denials(denials) => denials,
        reply => panic!("{reply:?}"),
    }
}

fn denial(id: &str, destination: &str, protocol: &str) -> Denial {
    Denial { container_id: id.to_owned(), destination: destination.to_owned(), protocol: protocol.to_owned() }
}

/// Says "hello" to whoever connects.
fn greet(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream.unwrap().write_all(b"hello"));
        }
    });
}

/// What a connection brings.
fn visit(guest: &Guest, address: Ipv4Addr, port: u16) -> Result<String, ErrorKind> {
    visit_within(SOON, guest, address, port)
}

/// Whether it is refused aloud.
fn is_kept_out(guest: &Guest, address: Ipv4Addr, port: u16) -> bool {
    visit(guest, address, port) == Err(ErrorKind::ConnectionRefused)
}

fn visit_within(limit: Duration, guest: &Guest, address: Ipv4Addr, port: u16) -> Result<String, ErrorKind> {
    guest.namespace.run(move || {
        let mut stream =
            TcpStream::connect_timeout(&(address, port).into(), limit).map_err(|error| error.kind())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|error| error.kind())?;
        Ok(text)
    })
}

/// Response code and how many answers.
fn ask(guest: &Guest, name: &str) -> (u8, u8) {
    let (query, gateway) = (question(name, TYPE_A), guest.gateway);
    guest.namespace.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        // With an option behind the question, which is not to be passed on.
        socket.send_to(&[&query[..], b"secret"].concat(), (gateway, 53)).unwrap();
        let mut buffer = [0; 512];
        socket.recv(&mut buffer).unwrap();
        (buffer[3] & 15, buffer[7])
    })
}

/// A resolver for which every name is OUTSIDE; tells what it was asked.
fn resolve(host: &Host) -> mpsc::Receiver<Vec<u8>> {
    resolve_to(host, OUTSIDE)
}

fn resolve_to(host: &Host, address: Ipv4Addr) -> mpsc::Receiver<Vec<u8>> {
    let socket = host.outside.run(|| UdpSocket::bind((OUTSIDE, 53)).unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let query = buffer[..length].to_vec();
            let mut answer = query.clone();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address.octets());
            socket.send_to(&answer, peer).unwrap();
            if sender.send(query).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn addresses_and_ports_are_allowed_and_everything_else_is_refused_and_told() {
    let host = Host::new();
    let daemon = host.start("a");
    for port in [7000, 7001] {
        greet(host.outside.run(move || TcpListener::bind((OUTSIDE, port)).unwrap()));
    }
    let datagrams = host.outside.run(|| UdpSocket::bind((OUTSIDE, 7000)).unwrap());
    datagrams.set_read_timeout(Some(NEVER)).unwrap();
    let free = Guest::new(host.lease(&daemon, "free"));
    let some = limited("some", &[subnet([203, 0, 113, 0].into(), 24, Some(7000))]);
    let some = Guest::new(host.lease_as(&daemon, some).unwrap());
    let none = Guest::new(host.lease_as(&daemon, limited("none", &[])).unwrap());
    assert_eq!(visit(&free, OUTSIDE, 7001).unwrap(), "hello");
    assert_eq!(visit(&some, OUTSIDE, 7000).unwrap(), "hello");
    // At once, not after a timeout.
    assert_eq!(visit(&some, OUTSIDE, 7001), Err(ErrorKind::ConnectionRefused));
    assert_eq!(visit(&none, OUTSIDE, 7000), Err(ErrorKind::ConnectionRefused));
    let told = denials(&host, &daemon);
    assert!(told.contains(&denial("some", "203.0.113.1:7001", "tcp")), "{told:?}");
    assert!(
        !told.iter().any(|one| one.container_id == "free"
            || one.destination.ends_with(":7000") && one.container_id == "some"),
        "{told:?}"
    );

    // Fragments, too, are judged by the port that only the first of them has.
    let send = |guest: &Guest, port: u16| {
        let socket = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        drop(socket.send_to(&[7; 3000], (OUTSIDE, port)));
        drop(socket.send_to(&[7; 3000], (OUTSIDE, port)));
    };
    send(&some, 7000);
    datagrams.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(datagrams.recv(&mut [0; 4000]).unwrap(), 3000);
    datagrams.set_read_timeout(Some(NEVER)).unwrap();
    send(&none, 7000);
    while let Ok((_, peer)) = datagrams.recv_from(&mut [0; 4000]) {
        assert_eq!(peer.ip(), IpAddr::V4(support::HOST));
        assert!(datagrams.recv(&mut [0; 4000]).is_err(), "what 'none' sent came out");
    }
    drop((some, none));
    // The rules go with the container, and its address may belong to another.
    for id in ["some", "none"] {
        host.request(&daemon, Request::Release { container_id: id.to_owned() }).unwrap();
    }
    let again = LeaseRequest { ipv4_address: Some([192, 168, 64, 3].into()), ..plain("again") };
    let again = Guest::new(host.lease_as(&daemon, again).unwrap());
    assert_eq!(visit(&again, OUTSIDE, 7001).unwrap(), "hello");
}

#[test]
fn a_policy_judges_what_an_earlier_container_of_the_address_began() {
    let host = Host::new();
    let daemon = host.start("a");
    let server = host.outside.run(|| UdpSocket::bind((OUTSIDE, 7000)).unwrap());
    server.set_read_timeout(Some(SOON)).unwrap();
    let bound = |guest: &Guest| {
        let socket = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    };
    let free = Guest::new(host.lease(&daemon, "free"));
    let address = free.address;
    let socket = bound(&free);
    let (mut buffer, mut answered) = ([0; 10], false);
    for _ in 0..3 {
        socket.send_to(b"fine", (OUTSIDE, 7000)).unwrap();
        let (_, peer) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", peer).unwrap();
        answered = socket.recv(&mut buffer).is_ok();
    }
    assert!(answered);
    drop((socket, free));
    host.request(&daemon, Request::Release { container_id: "free".to_owned() }).unwrap();
    let none = LeaseRequest { ipv4_address: Some(address), ..limited("none", &[]) };
    let none = Guest::new(host.lease_as(&daemon, none).unwrap());
    drop(bound(&none).send_to(b"secret", (OUTSIDE, 7000)));
    server.set_read_timeout(Some(NEVER)).unwrap();
    assert!(server.recv_from(&mut buffer).is_err(), "the connection of another goes on");
}

#[test]
fn packets_made_by_hand_go_nowhere() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = RawGuest::new(host.lease_as(&daemon, limited("none", &[])).unwrap());
    let peer = RawGuest::new(host.lease(&daemon, "peer"));
    let gateway = guest.find_gateway().unwrap();
    let outside = host.outside.run(|| UdpSocket::bind((OUTSIDE, 7000)).unwrap());
    outside.set_read_timeout(Some(NEVER)).unwrap();
    let datagram = |target: Ipv4Addr| udp((guest.address, 53), (target, 7000), b"secret");
    let frame = |mac: [u8; 6], target: Ipv4Addr, protocol: u8, payload: &[u8]| {
        ethernet(mac, guest.mac, 0x0800, &ipv4(protocol, guest.address, target, payload))
    };
    // To the gateway: what an echo request carries is on the host then.
    let gateway_address = Ipv4Addr::new(192, 168, 64, 1);
    guest.send(&frame(gateway, gateway_address, 1, &echo_request(1)));
    let is_icmp = |frame: &[u8]| frame[12..14] == [8, 0] && frame[23] == 1;
    let answer = guest.receive(SOON, is_icmp).unwrap();
    assert_eq!(answer[34..36], [3, 13], "not told that it is prohibited");
    // To the outside: datagrams, echo requests, an unknown protocol, a later fragment.
    guest.send(&frame(gateway, OUTSIDE, 17, &datagram(OUTSIDE)));
    guest.send(&frame(gateway, OUTSIDE, 1, &echo_request(1)));
    guest.send(&frame(gateway, OUTSIDE, 47, &[0; 40]));
    // To a peer that plays along: its own address, the outside's, everybody's; answers nobody asked for.
    for mac in [peer.mac, BROADCAST] {
        for target in [peer.address, OUTSIDE, [255, 255, 255, 255].into(), [224, 0, 0, 1].into()] {
            guest.send(&frame(mac, target, 17, &datagram(target)));
            let mut reply = echo_request(1);
            reply[0] = 0;
            guest.send(&frame(mac, target, 1, &reply));
            guest.send(&frame(mac, target, 6, &[0; 40]));
        }
        guest.send(&ethernet(mac, guest.mac, 0x86dd, &[0x60; 60]));
    }
    assert!(peer.receive(NEVER, |frame| frame[12..14] != [8, 6]).is_none());
    assert!(outside.recv(&mut [0; 100]).is_err());
    let told = denials(&host, &daemon);
    assert!(told.contains(&denial("none", "203.0.113.1:7000", "udp")), "{told:?}");
    assert!(told.contains(&denial("none", "192.168.64.1", "icmp")), "{told:?}");
}

#[test]
fn names_open_the_way_to_what_they_stand_for() {
    let host = Host::new();
    let daemon = host.start("a");
    let asked = resolve(&host);
    greet(host.outside.run(|| TcpListener::bind((OUTSIDE, 7000)).unwrap()));
    let rules = [name("good.example", Some(7000)), name("*.wild.example", None)];
    let guest = Guest::new(host.lease_as(&daemon, limited("one", &rules)).unwrap());
    assert_eq!(visit(&guest, OUTSIDE, 7000), Err(ErrorKind::ConnectionRefused));
    // Names are a way out as well.
    for other in ["secret.evil.example", "sub.good.example", "wild.example"] {
        assert_eq!(ask(&guest, other), (REFUSED, 0), "{other}");
    }
    assert!(asked.try_recv().is_err(), "a refused name was passed on");
    let told = denials(&host, &daemon);
    assert!(told.contains(&denial("one", "secret.evil.example", "dns")), "{told:?}");
    assert_eq!(ask(&guest, "Good.example"), (0, 1));
    let passed_on = asked.recv_timeout(SOON).unwrap();
    assert_eq!(passed_on[2..], question("Good.example", TYPE_A)[2..], "more than the question was passed on");
    assert_eq!(visit(&guest, OUTSIDE, 7000).unwrap(), "hello");
    assert_eq!(visit(&guest, OUTSIDE, 53), Err(ErrorKind::ConnectionRefused));
    // Another rule, every port. Asked twice: the address is there already.
    for _ in 0..2 {
        assert_eq!(ask(&guest, "a.wild.example"), (0, 1));
    }
    // Nobody listens there, which the outside says.
    let denied = denials(&host, &daemon);
    assert_eq!(visit(&guest, OUTSIDE, 54), Err(ErrorKind::ConnectionRefused));
    assert!(!denied.iter().any(|one| one.destination.ends_with(":54")), "{denied:?}");
}

#[test]
fn peers_may_ask_and_be_asked_if_allowed() {
    let host = Host::new();
    let daemon = host.start("a");
    let peer = Guest::new(host.lease(&daemon, "peer"));
    greet(peer.namespace.run(|| TcpListener::bind("0.0.0.0:7000").unwrap()));
    greet(peer.namespace.run(|| TcpListener::bind("0.0.0.0:7001").unwrap()));
    let closed = Guest::new(host.lease_as(&daemon, limited("closed", &[])).unwrap());
    let open = limited("open", &[name("peer", Some(7000))]);
    let open = Guest::new(host.lease_as(&daemon, open).unwrap());
    // A host of the network may always ask; the answers get out.
    greet(closed.namespace.run(|| TcpListener::bind("0.0.0.0:7000").unwrap()));
    assert_eq!(visit(&peer, closed.address, 7000).unwrap(), "hello");
    assert!(is_kept_out(&closed, peer.address, 7000));
    assert!(is_kept_out(&open, peer.address, 7000), "nobody asked for the name yet");
    assert_eq!(ask(&open, "peer"), (0, 1));
    assert_eq!(visit(&open, peer.address, 7000).unwrap(), "hello");
    assert!(is_kept_out(&open, peer.address, 7001));
    // Published ports come from the gateway.
    let port = PortRange {
        host_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host_port: 8080,
        container_port: 7000,
        protocol: Protocol::Tcp,
        count: 1,
    };
    let request = PublishRequest {
        container_id: "closed".to_owned(),
        network: "default".to_owned(),
        ports: vec![port],
    };
    host.request(&daemon, Request::Publish(request)).unwrap();
    let text = host.host.run(|| {
        let mut text = String::new();
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))).unwrap();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(text, "hello");
}

/// Who is on a network, and which neighbour stands behind a name of somebody else's, is not for them to decide.
#[test]
fn f74_names_open_and_show_no_neighbours() {
    let host = Host::new();
    let daemon = host.start("a");
    let peer = Guest::new(host.lease(&daemon, "peer"));
    greet(peer.namespace.run(|| TcpListener::bind("0.0.0.0:7000").unwrap()));
    let closed = Guest::new(host.lease_as(&daemon, limited("closed", &[])).unwrap());
    for name in ["peer", "closed", "host.docker.internal"] {
        assert_eq!(ask(&closed, name), (5, 0), "{name}");
    }
    let near = limited("near", &[subnet(peer.address, 32, None)]);
    let near = Guest::new(host.lease_as(&daemon, near).unwrap());
    assert_eq!((ask(&near, "peer"), ask(&near, "closed")), ((0, 1), (5, 0)));
    assert_eq!(visit(&near, peer.address, 7000).unwrap(), "hello");

    let _asked = resolve_to(&host, peer.address);
    let lured = Guest::new(host.lease_as(&daemon, limited("lured", &[name("evil.test", None)])).unwrap());
    assert_eq!(ask(&lured, "evil.test").0, 0);
    assert!(is_kept_out(&lured, peer.address, 7000));
}

#[test]
fn what_one_container_is_asked_keeps_no_other_from_answering() {
    let host = Host::new();
    let daemon = host.start("a");
    let flooded = RawGuest::new(host.lease_as(&daemon, limited("flooded", &[])).unwrap());
    let other = Guest::new(host.lease_as(&daemon, limited("other", &[])).unwrap());
    let evil = RawGuest::new(host.lease(&daemon, "evil"));
    greet(other.namespace.run(|| TcpListener::bind("0.0.0.0:7000").unwrap()));
    // More than any set of the kernel's tables holds, each from a port or to a port of its own. The bridge,
    // which has not heard of the receiver yet, shows them to everybody.
    for number in 0..70_000_u32 {
        let port = |value: u32| u16::try_from(value).unwrap();
        let datagram = udp(
            (evil.address, port(1024 + number % 60_000)),
            (flooded.address, port(1 + number / 60_000)),
            b"",
        );
        let packet = ipv4(17, evil.address, flooded.address, &datagram);
        evil.send(&ethernet(flooded.mac, evil.mac, 0x0800, &packet));
    }
    let peer = Guest::new(host.lease(&daemon, "peer"));
    assert_eq!(visit(&peer, other.address, 7000).unwrap(), "hello");
}

#[test]
fn a_policy_and_the_names_that_it_allowed_outlive_the_daemon() {
    let host = Host::new();
    greet(host.outside.run(|| TcpListener::bind((OUTSIDE, 7000)).unwrap()));
    greet(host.outside.run(|| TcpListener::bind((OUTSIDE, 7001)).unwrap()));
    let create = |daemon: &Daemon| {
        host.request(daemon, Request::CreateNetwork(default_network())).unwrap();
    };
    let daemon = host.start("a");
    create(&daemon);
    let wanted = limited("one", &[subnet(OUTSIDE, 32, Some(7000)), name("peer", Some(7002))]);
    let (lease, socket) = host.lease(&daemon, "peer");
    let peer_restoration = restoration(&plain("peer"), &lease);
    let peer = Guest::new((lease, socket));
    greet(peer.namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7002)).unwrap()));
    let (lease, socket) = host.lease_as(&daemon, wanted.clone()).unwrap();
    let restoration = restoration(&wanted, &lease);
    let guest = Guest::new((lease, socket));
    let check = || {
        assert_eq!(visit(&guest, OUTSIDE, 7000).unwrap(), "hello");
        assert_eq!(visit(&guest, OUTSIDE, 7001), Err(ErrorKind::ConnectionRefused));
    };
    check();
    assert!(is_kept_out(&guest, peer.address, 7002));
    assert_eq!(ask(&guest, "peer"), (0, 1));
    assert_eq!(visit(&guest, peer.address, 7002).unwrap(), "hello");
    daemon.kill();
    check();
    let daemon = host.start("a");
    create(&daemon);
    // Nothing passes until the policy is there.
    assert!(visit_within(Duration::from_secs(2), &guest, OUTSIDE, 7001).is_err());
    host.request(&daemon, Request::Restore(restoration)).unwrap();
    host.request(&daemon, Request::Restore(peer_restoration)).unwrap();
    check();
    // Nobody need ask again for a name whose address is known.
    assert_eq!(visit(&guest, peer.address, 7002).unwrap(), "hello");
    let told = denials(&host, &daemon);
    assert!(told.contains(&denial("one", "203.0.113.1:7001", "tcp")), "{told:?}");
}
