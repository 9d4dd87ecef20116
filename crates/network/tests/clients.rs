//! Whom containers see at their published ports.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use bulkhead_network_control::{
    EgressPolicy, LeaseRequest, NetworkConfiguration, Protocol, PublishRequest, Request,
};
use rustix::net::{AddressFamily, SocketType};
use support::guest::Guest;
use support::published::{ANY, port, publish};
use support::{HOST, Host, OUTSIDE, SOON, default_network, plain};

/// Says to each connection and each datagram on port 7000 from where it came.
fn tell_who_asks(guest: &Guest) {
    let (listener, socket) = guest
        .namespace
        .run(|| (TcpListener::bind("0.0.0.0:7000").unwrap(), UdpSocket::bind("0.0.0.0:7000").unwrap()));
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

/// What a client is told over TCP and over UDP, and from where it asked each time.
fn asked(address: Ipv4Addr, host_port: u16) -> [(String, String); 2] {
    let mut stream = TcpStream::connect((address, host_port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.connect((address, host_port)).unwrap();
    socket.send(b"who?").unwrap();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    let datagram = String::from_utf8_lossy(&buffer[..length]).into_owned();
    [(told, stream.local_addr().unwrap().to_string()), (datagram, socket.local_addr().unwrap().to_string())]
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
        tell_who_asks(guest);
        let ports = [(0, Protocol::Tcp), (0, Protocol::Udp), (10, Protocol::Tcp), (10, Protocol::Udp)];
        let ports = ports.map(|(offset, protocol)| port(ANY, 8080 + offset + number, protocol));
        publish(&host, &daemon, id, &ports).unwrap();
        for (told, client) in host.outside.run(move || asked(HOST, 8080 + number)) {
            assert_eq!(told, client, "{id}");
        }
        // The host by its own address is a client as others; its loopback is nobody's that could be answered.
        for (told, client) in host.host.run(move || asked(HOST, 8080 + number)) {
            assert_eq!(told, client, "{id}");
        }
        for (told, _) in host.host.run(move || asked(Ipv4Addr::LOCALHOST, 8080 + number)) {
            assert!(told.starts_with(&format!("{}:", guest.gateway)), "{id}: {told}");
        }
        // Two ports of the host that lead to one, from one port of a client: the container can tell them apart.
        let told = host.outside.run(move || {
            [8080, 8090]
                .map(|first| {
                    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
                    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
                    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5000 + number)))
                        .unwrap();
                    rustix::net::connect(&socket, &SocketAddr::from((HOST, first + number))).unwrap();
                    let mut stream = TcpStream::from(socket);
                    stream.set_read_timeout(Some(SOON)).unwrap();
                    let mut told = String::new();
                    // Kept open, so that both are there at once.
                    stream.read_to_string(&mut told).unwrap();
                    (stream, told)
                })
                .map(|(_, told)| told)
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
    tell_who_asks(&guest);
    let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| port(ANY, 8080, protocol));
    let request = PublishRequest {
        container_id: "web".to_owned(),
        network: "inside".to_owned(),
        ports: ports.to_vec(),
    };
    host.request(&daemon, Request::Publish(request)).unwrap();
    for (told, _) in host.outside.run(|| asked(HOST, 8080)) {
        assert!(told.starts_with(&format!("{}:", guest.gateway)), "{told}");
    }
}
