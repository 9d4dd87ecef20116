//! Published ports.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use bulkhead_network_control::{
    ClientError, EgressPolicy, EgressRule, EgressTarget, FailureCode, LeaseRequest, PortRange, PortSpan,
    Protocol, Reply, Request,
};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use support::guest::Guest;
use support::namespace::run_program;
use support::packet::{checksum, ipv4};
use support::published::{ANY, port, publish};
use support::{Daemon, HOST, Host, SOON, eventually, plain, query};

fn release(host: &Host, daemon: &Daemon, id: &str) {
    host.request(daemon, Request::Release { container_id: id.to_owned() }).unwrap();
}

/// Answers each connection with all that it said, once that has ended.
fn serve_streams(guest: &Guest) {
    let listener = guest.namespace.run(|| TcpListener::bind("0.0.0.0:7000").unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).and_then(|_| stream.write_all(&bytes))
            });
        }
    });
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn refusal(outcome: Result<Vec<PortRange>, ClientError>) -> (FailureCode, String) {
    match outcome {
        Err(ClientError::Refused(failure)) => (failure.code, failure.message),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn streams_reach_the_container_from_every_side_of_the_host() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "web"));
    serve_streams(&guest);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let wanted = [port(ANY, 8080, Protocol::Tcp), port(v6, 8080, Protocol::Tcp)];
    assert_eq!(publish(&host, &daemon, "web", &wanted).unwrap(), wanted);
    let ask = |address: IpAddr| move || exchange((address, 8080).into(), b"hello");
    assert_eq!(host.host.run(ask(Ipv4Addr::LOCALHOST.into())), b"hello");
    assert_eq!(host.host.run(ask(v6)), b"hello");
    assert_eq!(host.outside.run(ask(HOST.into())), b"hello");
    let long = vec![0x5a; 3 << 20];
    let sent = long.clone();
    assert!(host.outside.run(move || exchange((HOST, 8080).into(), &sent)) == long);
}

#[test]
fn datagrams_find_their_way_back_to_each_peer() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "dns"));
    let server = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:7000").unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            server.send_to(&buffer[..length], peer).unwrap();
        }
    });
    let published = publish(&host, &daemon, "dns", &[port(ANY, 0, Protocol::Udp)]).unwrap();
    let host_port = published[0].host_port;
    assert_ne!(host_port, 0);
    let peers: Vec<UdpSocket> = (0..3)
        .map(|_| {
            host.outside.run(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(SOON)).unwrap();
                socket.connect((HOST, host_port)).unwrap();
                socket
            })
        })
        .collect();
    for _ in 0..2 {
        for (number, peer) in peers.iter().enumerate() {
            peer.send(format!("peer {number}").as_bytes()).unwrap();
        }
        for (number, peer) in peers.iter().enumerate() {
            let mut buffer = [0; 100];
            let length = peer.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], *format!("peer {number}").as_bytes());
        }
    }
}

#[test]
fn f71_a_taken_port_is_named_and_nothing_of_the_others_stays() {
    let host = Host::new();
    let daemon = host.start("a");
    let _leases = [host.lease(&daemon, "web"), host.lease(&daemon, "other")];
    let foreign = host.host.run(|| TcpListener::bind("127.0.0.1:8081").unwrap());
    let wanted = [port(ANY, 8080, Protocol::Tcp), port(ANY, 8081, Protocol::Tcp)];
    let (code, message) = refusal(publish(&host, &daemon, "web", &wanted));
    assert_eq!(code, FailureCode::InUse);
    assert_eq!(message, "host port 0.0.0.0:8081/tcp is in use by another program of this host");
    drop(foreign);
    // A process that another test has just forked has the socket until it executes its program.
    eventually("the port is free", || publish(&host, &daemon, "web", &wanted).is_ok());
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (_, message) = refusal(publish(&host, &daemon, "other", &[port(local, 8080, Protocol::Tcp)]));
    assert_eq!(message, "host port 127.0.0.1:8080/tcp is published by container 'web'");
    // A port is free the moment the release is answered.
    for _ in 0..20 {
        release(&host, &daemon, "web");
        let _lease = host.lease(&daemon, "web");
        publish(&host, &daemon, "web", &wanted).unwrap();
    }
}

#[test]
fn ranges_are_bound_whole_and_connections_end_with_the_release() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "web"));
    serve_streams(&guest);
    let range = PortRange { container_port: 6990, count: 500, ..port(ANY, 0, Protocol::Tcp) };
    let published = publish(&host, &daemon, "web", &[range]).unwrap();
    let served = published[0].host_port + 10;
    let mut open = host.host.run(move || TcpStream::connect((Ipv4Addr::LOCALHOST, served)).unwrap());
    assert_eq!(
        host.host.run(move || exchange((Ipv4Addr::LOCALHOST, served).into(), b"x")),
        b"x",
        "the eleventh port leads to 7000"
    );
    // Nobody listens behind the first one.
    let first = published[0].host_port;
    let outcome = host.host.run(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, first)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.read(&mut [0; 1]).map_err(|error| error.kind())
    });
    assert_eq!(outcome, Err(std::io::ErrorKind::ConnectionReset));
    release(&host, &daemon, "web");
    open.set_read_timeout(Some(SOON)).unwrap();
    assert!(matches!(open.read(&mut [0; 1]), Ok(0) | Err(_)));
    let again = host.host.run(move || TcpStream::connect((Ipv4Addr::LOCALHOST, served)).is_err());
    assert!(again, "the port is still bound");
}

#[test]
fn f76_a_flood_of_idle_connections_is_bounded_and_leaves_other_containers_alone() {
    let host = Host::new();
    let daemon = host.start("a");
    let guests = ["flooded", "other"].map(|id| Guest::new(host.lease(&daemon, id)));
    guests.iter().for_each(serve_streams);
    publish(&host, &daemon, "flooded", &[port(ANY, 8080, Protocol::Tcp)]).unwrap();
    publish(&host, &daemon, "other", &[port(ANY, 8081, Protocol::Tcp)]).unwrap();
    let idle: Vec<TcpStream> = host.host.run(|| {
        (0..1300)
            .map_while(|_| {
                let address = (Ipv4Addr::LOCALHOST, 8080).into();
                TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()
            })
            .collect()
    });
    assert!(idle.len() > 1024, "{}", idle.len());
    support::eventually("the limit is reached", || daemon.open_sockets() >= 2 * 1024);
    thread::sleep(Duration::from_millis(200));
    let sockets = daemon.open_sockets();
    assert!(sockets < 2 * 1024 + 64, "{sockets} sockets for {} connections", idle.len());
    assert_eq!(host.host.run(|| exchange((Ipv4Addr::LOCALHOST, 8081).into(), b"alive")), b"alive");
    drop(idle);
    support::eventually("there is room again", || daemon.open_sockets() < 200);
    assert_eq!(host.host.run(|| exchange((Ipv4Addr::LOCALHOST, 8080).into(), b"back")), b"back");
}

#[test]
fn f71_idle_ports_take_nothing_from_busy_ones() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "web"));
    serve_streams(&guest);
    // More than connections are served at once.
    let range = PortRange { container_port: 5501, count: 1500, ..port(ANY, 20_000, Protocol::Tcp) };
    publish(&host, &daemon, "web", &[range]).unwrap();
    let last = (Ipv4Addr::LOCALHOST, 21_499).into();
    assert_eq!(host.host.run(move || exchange(last, b"x")), b"x", "the last port leads to 7000");
}

#[test]
fn f76_peers_of_all_datagram_ports_of_a_container_are_bounded_together() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "dns"));
    let server = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:7000").unwrap());
    let before = daemon.open_sockets();
    let ranges = [9000, 9001, 9002].map(|number| port(ANY, number, Protocol::Udp));
    publish(&host, &daemon, "dns", &ranges).unwrap();
    // Many are lost while the daemon has no processor.
    support::eventually("the limit is reached", || {
        host.host.run(|| {
            for number in 0..2400_u16 {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(b"flood", (Ipv4Addr::LOCALHOST, 9000 + number % 3)).unwrap();
            }
        });
        daemon.open_sockets() >= before + 1000
    });
    thread::sleep(Duration::from_millis(300));
    let sockets = daemon.open_sockets() - before;
    assert!(sockets <= 1024 + 64, "{sockets} sockets");
    // Whoever comes next is served all the same.
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 100];
    while server.recv(&mut buffer).is_ok() {}
    let peer = host.host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    peer.set_read_timeout(Some(SOON)).unwrap();
    peer.send_to(b"late", (Ipv4Addr::LOCALHOST, 9001)).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"late");
    server.send_to(b"answer", from).unwrap();
    let length = peer.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    // The port is free the moment the release is answered.
    release(&host, &daemon, "dns");
    host.host.run(|| drop(UdpSocket::bind("127.0.0.1:9001").unwrap()));
}

#[test]
fn f76_half_open_connections_do_not_keep_others_out() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "web"));
    serve_streams(&guest);
    publish(&host, &daemon, "web", &[port(ANY, 8080, Protocol::Tcp)]).unwrap();
    // So that the host tries to answer them, in vain.
    host.host.run(|| run_program("ip", &["route", "add", "198.18.0.0/15", "via", "203.0.113.1"]));
    let before = daemon.open_sockets();
    let sent = host.outside.run(|| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap();
        let target = SocketAddr::from((HOST, 8080));
        let sent = (0..10_000_u32).filter(|number| {
            let source = Ipv4Addr::from_bits(0xc612_0000 + number);
            let syn = ipv4(6, source, HOST, &open_request(source, 8080));
            rustix::net::sendto(&socket, &syn, SendFlags::empty(), &target).is_ok()
        });
        sent.count()
    });
    assert!(sent > 9000, "{sent} sent");
    for _ in 0..20 {
        assert_eq!(host.outside.run(|| exchange((HOST, 8080).into(), b"hello")), b"hello");
    }
    assert!(daemon.open_sockets() < before + 16, "half-open connections have sockets");
}

/// A TCP segment that asks for a connection to the host.
fn open_request(source: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[..2].copy_from_slice(&40_000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    segment[12..16].copy_from_slice(&[0x50, 2, 0xff, 0xff]);
    let pseudo = [&source.octets()[..], &HOST.octets(), &[0, 6, 0, 20], &segment].concat();
    let sum = checksum(&pseudo);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

#[test]
fn datagrams_are_answered_from_the_address_that_they_were_sent_to() {
    let host = Host::new();
    let daemon = host.start("a");
    host.host.run(|| {
        run_program("ip", &["address", "add", "203.0.113.3/24", "dev", "wan"]);
        run_program("ip", &["address", "add", "2001:db8::2/64", "dev", "wan", "nodad"]);
        run_program("ip", &["address", "add", "2001:db8::3/64", "dev", "wan", "nodad"]);
    });
    host.outside.run(|| run_program("ip", &["address", "add", "2001:db8::1/64", "dev", "wan", "nodad"]));
    let guest = Guest::new(host.lease(&daemon, "echo"));
    let server = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:7000").unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            drop(server.send_to(&buffer[..length], peer));
        }
    });
    let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let ports = [port(ANY, 7000, Protocol::Udp), port(any6, 7000, Protocol::Udp)];
    publish(&host, &daemon, "echo", &ports).unwrap();
    for address in ["203.0.113.2:7000", "203.0.113.3:7000", "[2001:db8::2]:7000", "[2001:db8::3]:7000"] {
        let address: SocketAddr = address.parse().unwrap();
        let answered = host.outside.run(move || {
            let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
            let socket = UdpSocket::bind(any).unwrap();
            // A socket that is connected hears its peer alone.
            socket.connect(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut buffer = [0; 100];
            (0..10).any(|_| {
                socket.send(b"hello").unwrap();
                socket.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == b"hello")
            })
        });
        assert!(answered, "{address}");
    }
}

/// What programs are told of the host that containers run on: its address, or their gateway.
#[test]
fn containers_reach_published_ports_by_the_hosts_addresses_and_nothing_else_there() {
    let host = Host::new();
    let daemon = host.start("a");
    let web = Guest::new(host.lease(&daemon, "web"));
    let other = Guest::new(host.lease(&daemon, "other"));
    serve_streams(&web);
    let datagrams = web.namespace.run(|| UdpSocket::bind("0.0.0.0:7000").unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, sender)) = datagrams.recv_from(&mut buffer) {
            datagrams.send_to(&buffer[..length], sender).unwrap();
        }
    });
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    let ports = [
        port(ANY, 8080, tcp),
        port(ANY, 8080, udp),
        port(IpAddr::V4(HOST), 8081, tcp),
        port(local, 8082, tcp),
    ];
    publish(&host, &daemon, "web", &ports).unwrap();
    // A service of the host's own.
    let _own = host.host.run(|| TcpListener::bind("0.0.0.0:9000").unwrap());
    let answers = |guest: &Guest, address: Ipv4Addr, port: u16, limit: Duration| {
        guest.namespace.run(move || {
            let Ok(mut stream) = TcpStream::connect_timeout(&(address, port).into(), limit) else {
                return false;
            };
            stream.write_all(b"hello").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).is_ok() && answer == b"hello"
        })
    };
    let short = Duration::from_millis(300);
    for guest in [&web, &other] {
        eventually("the port", || answers(guest, HOST, 8080, SOON));
        assert!(answers(guest, HOST, 8081, SOON));
        assert!(answers(guest, guest.gateway, 8080, SOON));
        for (address, port) in [(HOST, 8082), (HOST, 9000), (guest.gateway, 9000), (HOST, 22)] {
            assert!(!answers(guest, address, port, short), "{address}:{port}");
        }
        for address in [HOST, guest.gateway] {
            let echoed = guest.namespace.run(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(SOON)).unwrap();
                socket.send_to(b"hello", (address, 8080)).unwrap();
                let mut buffer = [0; 100];
                socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
            });
            assert_eq!(echoed.unwrap(), b"hello", "{address}");
        }
    }
    // As long as it is published, also after somebody removed the rules.
    host.host.run(|| run_program("nft", &["flush", "ruleset"]));
    eventually("the rules", || host.rules().contains("dport 8080"));
    assert!(answers(&other, HOST, 8080, SOON) && !answers(&other, HOST, 9000, short));
    release(&host, &daemon, "web");
    eventually("the end", || !host.rules().contains("dport 8080"));
}

#[test]
fn a_policy_without_the_host_keeps_from_its_published_ports() {
    let host = Host::new();
    let daemon = host.start("a");
    let web = Guest::new(host.lease(&daemon, "web"));
    serve_streams(&web);
    publish(&host, &daemon, "web", &[port(ANY, 8080, Protocol::Tcp)]).unwrap();
    let policy = EgressPolicy { allow: Vec::new() };
    let closed = LeaseRequest { egress: Some(policy), ..plain("closed") };
    let closed = Guest::new(host.lease_as(&daemon, closed).unwrap());
    eventually("the rules", || host.rules().contains("dport 8080"));
    let reaches = |guest: &Guest, address: Ipv4Addr| {
        guest.namespace.run(move || TcpStream::connect_timeout(&(address, 8080).into(), SOON).is_ok())
    };
    assert!(!reaches(&closed, HOST) && !reaches(&closed, closed.gateway));
    // One that allows it by any of its addresses, or by name.
    let allowing = |id: &str, target: EgressTarget| {
        let allow = vec![EgressRule { target, ports: Some(PortSpan { first: 8080, last: 8080 }) }];
        let request = LeaseRequest { egress: Some(EgressPolicy { allow }), ..plain(id) };
        Guest::new(host.lease_as(&daemon, request).unwrap())
    };
    let subnet = |address: Ipv4Addr| EgressTarget::Subnet { address: address.into(), prefix_length: 32 };
    let by_address = allowing("address", subnet(HOST));
    assert!(reaches(&by_address, HOST) && !reaches(&by_address, by_address.gateway));
    let by_gateway = allowing("gateway", subnet(by_address.gateway));
    assert!(reaches(&by_gateway, by_gateway.gateway) && !reaches(&by_gateway, HOST));
    let by_name = allowing("name", EgressTarget::Name { name: "host.docker.internal".to_owned() });
    assert!(!reaches(&by_name, by_name.gateway), "before it asked");
    let server = (by_name.gateway, 53);
    let found: (u8, Vec<Ipv4Addr>) =
        query::ask(&by_name.namespace, server, "host.docker.internal", query::TYPE_A);
    assert_eq!(found, (0, vec![by_name.gateway]));
    assert!(reaches(&by_name, by_name.gateway) && !reaches(&by_name, HOST));
    // What was refused is told by the address that was asked for.
    let Reply::Denials(told) = host.request(&daemon, Request::Denials).unwrap().0 else { panic!() };
    let gateway = format!("{}:8080", closed.gateway);
    assert!(told.iter().any(|one| one.container_id == "closed" && one.destination == gateway), "{told:?}");
}
