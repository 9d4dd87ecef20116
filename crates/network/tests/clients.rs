//! Whom containers see at their published ports.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::thread;

use bulkhead_network_control::{
    EgressPolicy, LeaseRequest, NetworkConfiguration, Protocol, PublishRequest, Request,
};
use socket2::{Domain, Socket, Type};
use support::guest::Guest;
use support::namespace::run_program;
use support::published::{ANY, ANY6, port, publish, publish_on};
use support::six::{HOST6, OUTSIDE6, blue, create, host_with_ipv6, on};
use support::{Daemon, HOST, Host, OUTSIDE, SOON, default_network, plain, restoration};

/// Says to each connection and each datagram on port 7000 from where it came.
fn tell_who_asks(guest: &Guest, any: IpAddr) {
    let (listener, socket) = guest
        .namespace
        .run(move || (TcpListener::bind((any, 7000)).unwrap(), UdpSocket::bind((any, 7000)).unwrap()));
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            stream.write_all(peer.to_string().as_bytes()).unwrap();
        }
    });
    thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 10]) {
            socket.send_to(peer.to_string().as_bytes(), peer).unwrap();
        }
    });
}

/// A connection from an address and port of the client.
fn connection(from: SocketAddr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// What a client of this address is told over TCP and over UDP, and from where it asked each time.
fn asked(from: impl Into<IpAddr>, server: impl Into<SocketAddr>) -> [(String, String); 2] {
    asked_from(SocketAddr::new(from.into(), 0), server.into())
}

fn asked_from(from: SocketAddr, server: SocketAddr) -> [(String, String); 2] {
    let mut stream = connection(from, server);
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.connect(server).unwrap();
    socket.send(b"who?").unwrap();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    let datagram = String::from_utf8_lossy(&buffer[..length]).into_owned();
    [(told, stream.local_addr().unwrap().to_string()), (datagram, socket.local_addr().unwrap().to_string())]
}

/// What a client is told by two ports of the host that lead to one of a container, from one port of its own.
fn asked_twice(from: SocketAddr, servers: [SocketAddr; 2]) -> [String; 2] {
    let told = servers.map(|server| {
        let mut stream = connection(from, server);
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        // Kept open, so that both are there at once.
        (stream, told)
    });
    told.map(|(_, told)| told)
}

#[test]
fn the_container_sees_who_asks() {
    let host = Host::new();
    let daemon = host.start("a");
    let policy = EgressPolicy { allow: vec![] };
    let limited = LeaseRequest { egress: Some(policy), ..plain("limited") };
    let guests = [
        ("web", Guest::new(host.lease(&daemon, "web"))),
        ("limited", Guest::new(host.lease_as(&daemon, limited).unwrap())),
    ];
    for (number, (id, guest)) in (0..).zip(&guests) {
        tell_who_asks(guest, ANY);
        let ports = [(0, Protocol::Tcp), (0, Protocol::Udp), (10, Protocol::Tcp), (10, Protocol::Udp)];
        let ports = ports.map(|(offset, protocol)| port(ANY, 8080 + offset + number, protocol));
        publish(&host, &daemon, id, &ports).unwrap();
        for (told, client) in host.outside.run(move || asked(ANY, (HOST, 8080 + number))) {
            assert_eq!(told, client, "{id}");
        }
        // The host by its own address is a client as others; its loopback is nobody's that could be answered.
        for (told, client) in host.host.run(move || asked(ANY, (HOST, 8080 + number))) {
            assert_eq!(told, client, "{id}");
        }
        for (told, _) in host.host.run(move || asked(ANY, (Ipv4Addr::LOCALHOST, 8080 + number))) {
            assert!(told.starts_with(&format!("{}:", guest.gateway)), "{id}: {told}");
        }
        // Two ports of the host that lead to one, from one port of a client: the container can tell them apart.
        let told = host.outside.run(move || {
            asked_twice((ANY, 5000 + number).into(), [8080, 8090].map(|first| (HOST, first + number).into()))
        });
        assert!(
            told.iter().all(|one| one.starts_with(&format!("{OUTSIDE}:"))) && told[0] != told[1],
            "{told:?}"
        );
    }
}

#[test]
fn a_container_without_a_way_outside_sees_its_gateway() {
    let host = Host::new();
    let daemon = host.start("a");
    let inside = NetworkConfiguration {
        name: "inside".to_owned(),
        ipv4_subnet: Some("192.168.100.0/24".to_owned()),
        internal: true,
        ..default_network()
    };
    host.request(&daemon, Request::CreateNetwork(inside)).unwrap();
    let on_it = LeaseRequest { network: "inside".to_owned(), ..plain("web") };
    let guest = Guest::new(host.lease_as(&daemon, on_it).unwrap());
    tell_who_asks(&guest, ANY);
    let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| port(ANY, 8080, protocol));
    let request = PublishRequest {
        container_id: "web".to_owned(),
        network: "inside".to_owned(),
        ports: ports.to_vec(),
    };
    host.request(&daemon, Request::Publish(request)).unwrap();
    for (told, _) in host.outside.run(|| asked(ANY, (HOST, 8080))) {
        assert!(told.starts_with(&format!("{}:", guest.gateway)), "{told}");
    }
}

/// Clients that a container sees as they are, and such that it could not answer.
fn check_clients_by_ipv6(host: &Host, guest: &Guest, number: u16) {
    let port = 8080 + number;
    for (told, client) in host.outside.run(move || asked(OUTSIDE6, (HOST6, port))) {
        assert_eq!(told, client);
    }
    for (told, client) in host.host.run(move || asked(HOST6, (HOST6, port))) {
        assert_eq!(told, client);
    }
    let told = host.outside.run(move || {
        asked_twice(
            (OUTSIDE6, 5000 + number).into(),
            [8080, 8090].map(|first| (HOST6, first + number).into()),
        )
    });
    assert!(
        told.iter().all(|one| one.starts_with(&format!("[{OUTSIDE6}]:"))) && told[0] != told[1],
        "{told:?}"
    );
    let gateway = format!("[{}]:", guest.gateway6.unwrap());
    let by_loopback = host.host.run(move || asked(Ipv6Addr::LOCALHOST, (Ipv6Addr::LOCALHOST, port)));
    let by_link = host.outside.run(move || {
        let link = run_program("ip", &["-o", "link", "show", "wan"]);
        let scope = link.split(':').next().unwrap().parse().unwrap();
        let on_link = |address, port| SocketAddrV6::new(address, port, 0, scope).into();
        asked_from(on_link(NEIGHBOUR, 0), on_link(LINK, port))
    });
    let from_its_network = host.outside.run(move || asked(STRANGER, (HOST6, port)));
    for (told, client) in [by_loopback, by_link, from_its_network].concat() {
        assert!(told.starts_with(&gateway), "{client} is {told}");
    }
}

/// The host's address on the link to the outside, and the other end's.
const LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Somebody outside whose address is one of the containers' network.
const STRANGER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, 0x99);

#[test]
fn the_container_sees_who_asks_by_ipv6() {
    let host = host_with_ipv6(false);
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    let add = |address: String| {
        run_program("ip", &["address", "add", &address, "dev", "wan", "nodad"]);
    };
    host.outside.run(move || {
        add(format!("{STRANGER}/128"));
        add(format!("{NEIGHBOUR}/64"));
    });
    host.host.run(move || {
        add(format!("{LINK}/64"));
    });
    // No network may be where the host has a route to.
    let route_to_stranger = |what: &'static str| {
        let route = ["-6", "route", what, &format!("{STRANGER}/128"), "dev", "wan"].map(str::to_owned);
        host.host.run(move || run_program("ip", &route.each_ref().map(String::as_str)));
    };
    route_to_stranger("add");
    let wanted = [
        on("blue", "web"),
        LeaseRequest { egress: Some(EgressPolicy { allow: vec![] }), ..on("blue", "limited") },
    ];
    let guests = wanted.map(|wanted| {
        let (lease, socket) = host.lease_as(&daemon, wanted.clone()).unwrap();
        (restoration(&wanted, &lease), Guest::new((lease, socket)))
    });
    let publish = |daemon: &Daemon, id: &str, number| {
        let ports = [(0, Protocol::Tcp), (0, Protocol::Udp), (10, Protocol::Tcp)];
        let ports = ports.map(|(offset, protocol)| port(ANY6, 8080 + offset + number, protocol));
        publish_on("blue", &host, daemon, id, &ports).unwrap();
    };
    for (number, (lease, guest)) in (0..).zip(&guests) {
        tell_who_asks(guest, ANY6);
        publish(&daemon, &lease.container_id, number);
        check_clients_by_ipv6(&host, guest, number);
    }

    daemon.kill();
    route_to_stranger("delete");
    let daemon = host.start("a");
    create(&host, &daemon, blue());
    route_to_stranger("add");
    for (number, (lease, guest)) in (0..).zip(&guests) {
        host.request(&daemon, Request::Restore(lease.clone())).unwrap();
        publish(&daemon, &lease.container_id, number);
        check_clients_by_ipv6(&host, guest, number);
    }
}

#[test]
fn a_container_without_a_way_outside_sees_its_gateway_by_ipv6() {
    let host = host_with_ipv6(false);
    let daemon = host.start("a");
    create(&host, &daemon, NetworkConfiguration { internal: true, ..blue() });
    let guest = Guest::new(host.lease_as(&daemon, on("blue", "web")).unwrap());
    tell_who_asks(&guest, ANY6);
    let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| port(ANY6, 8080, protocol));
    publish_on("blue", &host, &daemon, "web", &ports).unwrap();
    for (told, _) in host.outside.run(|| asked(OUTSIDE6, (HOST6, 8080))) {
        assert!(told.starts_with(&format!("[{}]:", guest.gateway6.unwrap())), "{told}");
    }
}

#[test]
fn a_host_without_ipv6_shows_who_asks_by_ipv4() {
    let host = Host::new();
    // As it looks where the kernel was started with ipv6.disable=1, and where it was turned off.
    host.host.run(|| {
        run_program("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
        run_program("mount", &["-t", "tmpfs", "none", "/proc/sys/net/ipv6"]);
    });
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "web"));
    tell_who_asks(&guest, ANY);
    let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| port(ANY, 8080, protocol));
    publish(&host, &daemon, "web", &ports).unwrap();
    for (told, client) in host.outside.run(|| asked(ANY, (HOST, 8080))) {
        assert_eq!(told, client);
    }
}
