//! What containers can reach, and what not.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bulkhead_network_control::{LeaseRequest, NetworkConfiguration, Request};
use support::guest::{Guest, RawGuest};
use support::packet::{BROADCAST, arp, echo_request, ethernet, ipv4, transport_checksum, udp};
use support::{HOST, Host, OUTSIDE, SOON, plain};

const NEVER: Duration = Duration::from_millis(150);

fn listener(address: Ipv4Addr) -> impl FnOnce() -> UdpSocket + Send + 'static {
    move || {
        let socket = UdpSocket::bind((address, 7000)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    }
}

#[test]
fn gateway_answers_arp_and_ping() {
    let host = Host::new();
    let daemon = host.start("a");
    let guest = RawGuest::new(host.lease(&daemon, "one"));
    assert_eq!(guest.address, Ipv4Addr::new(192, 168, 64, 2));
    let gateway = guest.find_gateway().unwrap();
    let ping = ipv4(1, guest.address, guest.gateway, &echo_request(7));
    guest.send(&ethernet(gateway, guest.mac, 0x0800, &ping));
    let reply = guest.receive(SOON, |frame| frame[12..14] == [8, 0] && frame[23] == 1).unwrap();
    assert_eq!((reply[34], &reply[0..6]), (0, &guest.mac[..]));
    assert_eq!(support::packet::checksum(&reply[34..]), 0);
}

#[test]
fn datagrams_go_out_masqueraded_and_answers_come_back_with_whole_checksums() {
    let host = Host::new();
    let server = host.outside.run(listener(OUTSIDE));
    let daemon = host.start("a");
    let guest = RawGuest::new(host.lease(&daemon, "one"));
    let gateway = guest.find_gateway().unwrap();
    let datagram = udp((guest.address, 5000), (OUTSIDE, 7000), b"hello");
    guest.send(&ethernet(gateway, guest.mac, 0x0800, &ipv4(17, guest.address, OUTSIDE, &datagram)));
    let mut buffer = [0; 100];
    let (length, sender) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], sender.ip()), (&b"hello"[..], HOST.into()));
    server.send_to(b"and back", sender).unwrap();
    let answer = guest.receive(SOON, |frame| frame[12..14] == [8, 0] && frame[23] == 17).unwrap();
    assert_eq!(&answer[42..50], b"and back");
    assert_eq!(transport_checksum(17, OUTSIDE, guest.address, &answer[34..]), 0);
}

#[test]
fn streams_arrive_in_frames_that_fit() {
    const LENGTH: usize = 8 << 20;
    let host = Host::new();
    let server = host.outside.run(|| TcpListener::bind((OUTSIDE, 7000)).unwrap());
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "one"));
    let sender = std::thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        stream.write_all(&vec![0x5a; LENGTH]).unwrap();
    });
    let mut stream = guest.namespace.run(|| TcpStream::connect((OUTSIDE, 7000)).unwrap());
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    assert_eq!(received.len(), LENGTH);
    assert!(guest.longest_frame.load(Ordering::Relaxed) <= 1280 + 14);
}

#[test]
fn containers_of_a_network_reach_each_other_but_not_by_false_addresses() {
    let host = Host::new();
    let daemon = host.start("a");
    let one = RawGuest::new(host.lease(&daemon, "one"));
    let two = RawGuest::new(host.lease(&daemon, "two"));
    let is_hello = |frame: &[u8]| frame.ends_with(b"hello");
    let send = |mac: [u8; 6], address: Ipv4Addr| {
        let datagram = udp((address, 1), (two.address, 2), b"hello");
        one.send(&ethernet(two.mac, mac, 0x0800, &ipv4(17, address, two.address, &datagram)));
    };
    send(one.mac, one.address);
    assert!(two.receive(SOON, is_hello).is_some());
    send(one.mac, one.gateway);
    send([2, 0, 0, 0, 0, 9], one.address);
    assert!(two.receive(NEVER, is_hello).is_none());

    let is_arp = |frame: &[u8]| frame[12..14] == [8, 6];
    one.send(&ethernet(two.mac, one.mac, 0x0806, &arp(2, one.mac, one.address, two.address)));
    assert!(two.receive(SOON, is_arp).is_some());
    one.send(&ethernet(two.mac, one.mac, 0x0806, &arp(2, one.mac, one.gateway, two.address)));
    one.send(&ethernet(two.mac, one.mac, 0x0806, &arp(2, [2, 0, 0, 0, 0, 9], one.address, two.address)));
    assert!(two.receive(NEVER, is_arp).is_none());

    for kind in [0x86dd, 0x8100, 0x88cc, 0x1234] {
        one.send(&ethernet(BROADCAST, one.mac, kind, &[0; 64]));
    }
    let kinds = |frame: &[u8]| ![[8, 0], [8, 6]].contains(&[frame[12], frame[13]]);
    assert!(two.receive(NEVER, kinds).is_none());
}

#[test]
fn the_host_and_link_local_addresses_are_out_of_reach() {
    let host = Host::new();
    let metadata: Ipv4Addr = [169, 254, 169, 254].into();
    host.outside.run(move || {
        support::namespace::run_program("ip", &["address", "add", "169.254.169.254/32", "dev", "lo"]);
    });
    host.host.run(|| {
        support::namespace::run_program("ip", &["route", "add", "169.254.169.254", "via", "203.0.113.1"])
    });
    let outside = host.outside.run(listener(Ipv4Addr::UNSPECIFIED));
    let on_host = host.host.run(listener(Ipv4Addr::UNSPECIFIED));
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "one"));
    let socket = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let uplink: Ipv4Addr = [100, 127, 192, 1].into();
    for address in [metadata, HOST, uplink] {
        socket.send_to(b"forbidden", (address, 7000)).unwrap();
    }
    socket.send_to(b"fine", (OUTSIDE, 7000)).unwrap();
    let mut buffer = [0; 100];
    let (length, _) = outside.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"fine");
    on_host.set_read_timeout(Some(NEVER)).unwrap();
    assert!(on_host.recv_from(&mut buffer).is_err());
    outside.set_read_timeout(Some(NEVER)).unwrap();
    assert!(outside.recv_from(&mut buffer).is_err());
}

#[test]
fn the_packet_socket_reaches_nothing_but_its_own_port() {
    use std::os::fd::AsRawFd;
    let host = Host::new();
    let daemon = host.start("a");
    let (_, one) = host.lease(&daemon, "one");
    let two = RawGuest::new(host.lease(&daemon, "two"));
    // What a hostile VMM would do: bind to all devices.
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
    // SAFETY: `address` is readable for `length` bytes.
    assert_eq!(unsafe { libc::bind(one.as_raw_fd(), (&raw const address).cast(), length) }, 0);
    let one =
        RawGuest { socket: one, mac: [0; 6], address: two.address, gateway: two.gateway, address6: None };
    let gateway = two.find_gateway().unwrap();
    two.send(&ethernet(gateway, two.mac, 0x0800, &ipv4(1, two.address, two.gateway, &echo_request(1))));
    assert!(two.receive(SOON, |frame| frame[23] == 1).is_some());
    assert!(one.receive(NEVER, |frame| frame[12..14] == [8, 0]).is_none());
}

#[test]
fn networks_are_apart_and_internal_ones_have_no_way_out() {
    let host = Host::new();
    let outside = host.outside.run(listener(OUTSIDE));
    let daemon = host.start("a");
    for (name, internal) in [("blue", false), ("closed", true)] {
        let configuration = bulkhead_network_control::NetworkConfiguration {
            name: name.to_owned(),
            ipv4_subnet: None,
            ipv6_subnet: None,
            internal,
            options: std::collections::BTreeMap::new(),
        };
        host.request(&daemon, bulkhead_network_control::Request::CreateNetwork(configuration)).unwrap();
    }
    let on = |network: &str| {
        let request =
            bulkhead_network_control::LeaseRequest { network: network.to_owned(), ..plain(network) };
        Guest::new(host.lease_as(&daemon, request).unwrap())
    };
    let (default, blue, closed) = (on("default"), on("blue"), on("closed"));
    let listening = blue.namespace.run(listener(Ipv4Addr::UNSPECIFIED));
    let mut buffer = [0; 100];
    for guest in [&default, &closed] {
        let socket = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        drop(socket.send_to(b"x", (blue.address, 7000)));
        listening.set_read_timeout(Some(NEVER)).unwrap();
        assert!(listening.recv_from(&mut buffer).is_err());
        // The DNS server of another network does not answer either.
        socket.set_read_timeout(Some(NEVER)).unwrap();
        drop(socket.send_to(&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1], (blue.gateway, 53)));
        assert!(socket.recv_from(&mut buffer).is_err());
    }
    let socket = closed.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    drop(socket.send_to(b"x", (OUTSIDE, 7000)));
    outside.set_read_timeout(Some(NEVER)).unwrap();
    assert!(outside.recv_from(&mut buffer).is_err());
}

#[test]
fn f73_headers_that_lie_are_refused_and_hurt_nobody() {
    let host = Host::new();
    let daemon = host.start("a");
    let one = RawGuest::new(host.lease(&daemon, "one"));
    let two = RawGuest::new(host.lease(&daemon, "two"));
    let datagram = udp((one.address, 1), (two.address, 2), &[0x5a; 1000]);
    let frame = ethernet(two.mac, one.mac, 0x0800, &ipv4(17, one.address, two.address, &datagram));
    // flags, kind of train, header length, segment length, start and offset of the checksum
    let header = |flags: u8, kind: u8, numbers: [u16; 4]| {
        let mut header = [0; 10];
        header[..2].copy_from_slice(&[flags, kind]);
        for (position, number) in numbers.into_iter().enumerate() {
            header[2 + 2 * position..4 + 2 * position].copy_from_slice(&number.to_ne_bytes());
        }
        header
    };
    for flags in [0, 1, 2, 0xff] {
        for kind in [0, 1, 3, 4, 5, 0x81, 0x7f, 0xff] {
            for numbers in [
                [0, 0, 0, 0],
                [0xffff; 4],
                [54, 1, 34, 6],
                [54, 0xffff, 34, 16],
                [0xffff, 1200, 0, 0xfffe],
                [1, 1, 0xffff, 1],
                [2000, 8, 1041, 0],
            ] {
                // Refused by the kernel, or a frame like any other.
                let bytes = [&header(flags, kind, numbers)[..], &frame].concat();
                let _refused = rustix::io::write(&one.socket, &bytes);
                let _refused = rustix::io::write(&one.socket, &bytes[..30]);
            }
        }
    }
    // Everything goes on as before.
    let hello = udp((one.address, 1), (two.address, 2), b"hello");
    one.send(&ethernet(two.mac, one.mac, 0x0800, &ipv4(17, one.address, two.address, &hello)));
    assert!(two.receive(SOON, |frame| frame.ends_with(b"hello")).is_some());
}

#[test]
fn f77_rules_that_somebody_flushed_come_back_until_the_end() {
    let host = Host::new();
    let server = host.outside.run(listener(OUTSIDE));
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "one"));
    let socket = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let reaches = || {
        socket.send_to(b"ping", (OUTSIDE, 7000)).unwrap();
        server.recv_from(&mut [0; 10]).is_ok_and(|(_, sender)| sender.ip() == std::net::IpAddr::V4(HOST))
    };
    server.set_read_timeout(Some(NEVER)).unwrap();
    support::eventually("the outside", reaches);
    // Whoever only looked for them every two seconds would take five for this.
    let start = Instant::now();
    for _ in 0..5 {
        host.host.run(|| support::namespace::run_program("nft", &["flush", "ruleset"]));
        support::eventually("the rules", || host.rules().contains("bulkhead-bhu"));
    }
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    support::eventually("the outside", reaches);
    host.request(&daemon, bulkhead_network_control::Request::Shutdown).unwrap();
    assert!(!host.rules().contains("bulkhead"), "{}", host.rules());
}

#[test]
fn f72_addresses_of_those_who_have_just_left_are_waited_for() {
    let host = Host::new();
    let daemon = host.start("a");
    let small = NetworkConfiguration {
        name: "small".to_owned(),
        ipv4_subnet: Some("192.168.90.0/29".to_owned()),
        ..support::default_network()
    };
    host.request(&daemon, Request::CreateNetwork(small)).unwrap();
    let lease = |id: &str| LeaseRequest { network: "small".to_owned(), ..plain(id) };
    let ids = ["one", "two", "three", "four", "five"];
    for _ in 0..10 {
        let leases = ids.map(|id| host.lease_as(&daemon, lease(id)).unwrap());
        let full = host.lease_as(&daemon, lease("six")).unwrap_err();
        assert!(full.to_string().contains("no free address"), "{full}");
        for id in ids {
            host.request(&daemon, Request::Release { container_id: id.to_owned() }).unwrap();
        }
        drop(leases);
        host.lease_as(&daemon, lease("six")).unwrap();
        host.request(&daemon, Request::Release { container_id: "six".to_owned() }).unwrap();
    }
}

#[test]
fn two_instances_have_the_same_subnet_at_the_same_time() {
    let host = Host::new();
    let server = host.outside.run(listener(OUTSIDE));
    let (a, b) = (host.start("a"), host.start("b"));
    let guests = [&a, &b].map(|daemon| Guest::new(host.lease(daemon, "one")));
    assert_eq!(guests[0].address, guests[1].address);
    for guest in &guests {
        let socket = guest.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.send_to(b"ping", (OUTSIDE, 7000)).unwrap();
        let mut buffer = [0; 100];
        let (_, sender) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"pong", sender).unwrap();
        assert_eq!(socket.recv(&mut buffer).unwrap(), 4);
    }
}

#[test]
fn f73_a_flood_of_calls_to_everybody_reaches_nobody_in_full() {
    const SENT: usize = 20_000;
    let host = Host::new();
    let daemon = host.start("a");
    let flooding = RawGuest::new(host.lease(&daemon, "flooding"));
    let other = RawGuest::new(host.lease(&daemon, "other"));
    let datagram = udp((flooding.address, 1), (Ipv4Addr::BROADCAST, 2), b"flood");
    let packet = ipv4(17, flooding.address, Ipv4Addr::BROADCAST, &datagram);
    let frame = ethernet(BROADCAST, flooding.mac, 0x0800, &packet);
    let start = std::time::Instant::now();
    let mut received = 0;
    let of_flood = |frame: &[u8]| frame.ends_with(b"flood");
    for number in 0..SENT {
        let _lost = rustix::io::write(&flooding.socket, &[&[0; 10], &frame[..]].concat());
        // Nothing is lost for want of room.
        if number % 100 == 0 {
            while other.receive(Duration::from_millis(1), of_flood).is_some() {
                received += 1;
            }
        }
    }
    let allowed = 500.0 * (start.elapsed().as_secs_f64() + 1.0);
    while other.receive(NEVER, of_flood).is_some() {
        received += 1;
    }
    assert!(received > 0 && f64::from(received) <= allowed * 1.1, "{received} of {SENT}");
    // So many frames of all kinds are more than a busy host can send here: the kernel says what it holds the port to.
    let namespace = format!("--net={}", daemon.root.join("run/network.ns").display());
    let list = move || support::namespace::run_program("nsenter", &[&namespace, "nft", "list", "ruleset"]);
    let rules = host.host.run(list);
    let senders = rules.split("set senders").nth(1).unwrap().split("elements = {").nth(1).unwrap();
    let ports = senders.split('}').next().unwrap();
    let limit = "limit rate over 100000/second burst 100000 packets";
    assert!(ports.contains(limit), "{ports}");
}
