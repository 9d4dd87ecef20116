//! Names, wanted addresses and the border between networks.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use bulkhead_network_control::{
    ClientError, EgressPolicy, EgressRule, EgressTarget, FailureCode, LeaseRequest, NetworkConfiguration,
    Request,
};
use support::guest::{Guest, RawGuest};
use support::packet::{BROADCAST, arp, echo_request, ethernet, ipv4, udp};
use support::query::{self, TYPE_A, TYPE_AAAA, question};
use support::{Daemon, Host, OUTSIDE, plain, six};

const NEVER: Duration = Duration::from_millis(150);

fn create(host: &Host, daemon: &Daemon, name: &str, subnet: &str) {
    let configuration = NetworkConfiguration {
        name: name.to_owned(),
        ipv4_subnet: Some(subnet.to_owned()),
        ipv6_subnet: None,
        internal: false,
        options: std::collections::BTreeMap::new(),
    };
    host.request(daemon, Request::CreateNetwork(configuration)).unwrap();
}

fn on(network: &str, id: &str) -> LeaseRequest {
    LeaseRequest { network: network.to_owned(), ..plain(id) }
}

fn ask(guest: &Guest, name: &str, kind: u8) -> (u8, Vec<Ipv4Addr>) {
    query::ask(&guest.namespace, (guest.gateway, 53), name, kind)
}

#[test]
fn ids_aliases_and_first_labels_are_names() {
    let host = Host::new();
    let daemon = host.start("a");
    let asking = Guest::new(host.lease(&daemon, "asking"));
    let alias = |id: &str| LeaseRequest { aliases: vec!["Shared".to_owned()], ..on("default", id) };
    let one = Guest::new(host.lease_as(&daemon, alias("one.test")).unwrap());
    let two = Guest::new(host.lease_as(&daemon, alias("two")).unwrap());
    for name in ["one.test", "ONE.test", "one"] {
        assert_eq!(ask(&asking, name, TYPE_A), (0, vec![one.address]), "{name}");
    }
    let mut both = vec![one.address, two.address];
    both.sort();
    assert_eq!(ask(&asking, "shared", TYPE_A), (0, both));
    assert_eq!(ask(&asking, "one", TYPE_AAAA), (0, vec![]), "a name without AAAA has no data");
    for name in ["host.container.internal", "host.docker.internal"] {
        assert_eq!(ask(&asking, name, TYPE_A), (0, vec![asking.gateway]), "{name}");
    }
    host.request(&daemon, Request::Release { container_id: "two".to_owned() }).unwrap();
    assert_eq!(ask(&asking, "shared", TYPE_A), (0, vec![one.address]));
}

#[test]
fn one_server_knows_the_names_of_all_networks_of_who_asks() {
    let host = Host::new();
    let daemon = host.start("a");
    create(&host, &daemon, "blue", "192.168.100.0/24");
    create(&host, &daemon, "red", "192.168.101.0/24");
    let both = Guest::new(host.lease_as(&daemon, on("blue", "both")).unwrap());
    let _second_interface = host.lease_as(&daemon, on("red", "both")).unwrap();
    let red = Guest::new(host.lease_as(&daemon, on("red", "db")).unwrap());
    let blue = Guest::new(host.lease_as(&daemon, on("blue", "web")).unwrap());
    assert_eq!(ask(&both, "db", TYPE_A), (0, vec![red.address]));
    assert_eq!(ask(&both, "web", TYPE_A), (0, vec![blue.address]));
    // The resolver outside answers nothing: a failure, in any case no address.
    let (code, addresses) = ask_slowly(&blue, "db");
    assert!(code != 0 && addresses.is_empty());
}

#[test]
fn addresses_have_the_names_of_their_containers_on_networks_of_who_asks() {
    let host = Host::new();
    let daemon = host.start("a");
    six::create(&host, &daemon, six::blue());
    create(&host, &daemon, "red", "192.168.101.0/24");
    let web = Guest::new(host.lease_as(&daemon, on("blue", "web.test")).unwrap());
    let both = Guest::new(host.lease_as(&daemon, on("blue", "both")).unwrap());
    let _second_interface = host.lease_as(&daemon, on("red", "both")).unwrap();
    let red = Guest::new(host.lease_as(&daemon, on("red", "db")).unwrap());
    let resolver = host.outside.run(|| UdpSocket::bind((OUTSIDE, 53)).unwrap());
    let (passed_on, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = resolver.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            (answer[2], answer[3]) = (answer[2] | 0x80, 3);
            passed_on.send(answer[12..].to_vec()).unwrap();
            resolver.send_to(&answer, peer).unwrap();
        }
    });
    let name_of =
        |guest: &Guest, address: IpAddr| query::name_of(&guest.namespace, (guest.gateway, 53), address);
    let known = |name: &str| (0, Some(name.to_owned()));
    assert_eq!(name_of(&both, web.address.into()), known("web.test"));
    assert_eq!(name_of(&both, web.address6.unwrap().into()), known("web.test"));
    assert_eq!(name_of(&both, red.address.into()), known("db"));
    assert_eq!(name_of(&web, web.gateway.into()), known("host.container.internal"));
    // Nobody is there, or nobody whom it concerns; and nobody else is asked who lives here.
    assert_eq!(name_of(&web, Ipv4Addr::new(192, 168, 100, 200).into()), (3, None));
    assert_eq!(name_of(&web, red.address.into()), (3, None));
    assert_eq!(name_of(&web, red.gateway.into()), (3, None));
    assert!(asked.try_recv().is_err());
    assert_eq!(name_of(&web, Ipv4Addr::new(192, 168, 99, 1).into()), (3, None));
    assert!(asked.try_recv().unwrap().starts_with(b"\x011\x0299\x03168\x03192\x07in-addr\x04arpa\0"));
    // Of who is there no policy's container learns that may not go there.
    let policy = |allow: Vec<EgressRule>| Some(EgressPolicy { allow });
    let none = LeaseRequest { egress: policy(vec![]), ..on("blue", "none") };
    let none = Guest::new(host.lease_as(&daemon, none).unwrap());
    let target = EgressTarget::Subnet { address: web.address.into(), prefix_length: 32 };
    let some = policy(vec![EgressRule { target, ports: None }]);
    let some =
        Guest::new(host.lease_as(&daemon, LeaseRequest { egress: some, ..on("blue", "some") }).unwrap());
    assert_eq!(name_of(&none, web.address.into()), (5, None));
    assert_eq!(
        (name_of(&some, web.address.into()), name_of(&some, both.address.into())),
        (known("web.test"), (5, None))
    );
}

/// As [`ask`], for a name that the host's resolver is asked for.
fn ask_slowly(guest: &Guest, name: &str) -> (u8, Vec<Ipv4Addr>) {
    let (query, gateway) = (question(name, TYPE_A), guest.gateway);
    guest.namespace.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        socket.send_to(&query, (gateway, 53)).unwrap();
        let mut buffer = [0; 512];
        socket.recv(&mut buffer).unwrap();
        (buffer[3] & 15, if buffer[7] == 0 { vec![] } else { vec![Ipv4Addr::UNSPECIFIED] })
    })
}

#[test]
fn a_wanted_address_is_given_or_refused_for_a_reason() {
    let host = Host::new();
    let daemon = host.start("a");
    create(&host, &daemon, "blue", "192.168.100.0/28");
    let want = |id: &str, last: u8| LeaseRequest {
        ipv4_address: Some([192, 168, 100, last].into()),
        ..on("blue", id)
    };
    // Addresses that the pool is likely to have a port for, and others.
    for last in [2, 3, 4, 14] {
        let (lease, _socket) = host.lease_as(&daemon, want(&format!("c{last}"), last)).unwrap();
        assert_eq!(lease.ipv4_address, format!("192.168.100.{last}/28"));
    }
    let refused = |last: u8| match host.lease_as(&daemon, want("late", last)) {
        Err(ClientError::Refused(failure)) => failure,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(refused(3).message, "address 192.168.100.3 of network 'blue' belongs to container 'c3'");
    for last in [0, 1, 15, 16] {
        assert_eq!(refused(last).code, FailureCode::InvalidArgument, "{last}");
    }
    // Right after its release an address can be had again.
    for _ in 0..5 {
        host.request(&daemon, Request::Release { container_id: "c14".to_owned() }).unwrap();
        host.lease_as(&daemon, want("c14", 14)).unwrap();
    }
}

#[test]
fn f74_frames_made_by_hand_do_not_cross_networks() {
    let host = Host::new();
    let daemon = host.start("a");
    create(&host, &daemon, "blue", "192.168.100.0/24");
    create(&host, &daemon, "red", "192.168.101.0/24");
    let blue = RawGuest::new(host.lease_as(&daemon, on("blue", "web")).unwrap());
    let red = RawGuest::new(host.lease_as(&daemon, on("red", "db")).unwrap());
    let gateway = blue.find_gateway().unwrap();
    let from_blue = |frame: &[u8]| {
        frame.windows(5).any(|bytes| bytes == b"cross")
            || frame[12..14] == [8, 0] && frame[26..30] == blue.address.octets()
    };
    let datagram = udp((blue.address, 1), (red.address, 2), b"cross");
    for destination in [gateway, red.mac, BROADCAST] {
        blue.send(&ethernet(destination, blue.mac, 0x0800, &ipv4(17, blue.address, red.address, &datagram)));
        let ping = ipv4(1, blue.address, red.address, &echo_request(9));
        blue.send(&ethernet(destination, blue.mac, 0x0800, &ping));
    }
    // Addresses of the other network, as source and in ARP; loopback; the gateway of the other.
    for source in [red.address, red.gateway, Ipv4Addr::LOCALHOST] {
        let datagram = udp((source, 1), (red.address, 2), b"cross");
        blue.send(&ethernet(gateway, blue.mac, 0x0800, &ipv4(17, source, red.address, &datagram)));
    }
    blue.send(&ethernet(BROADCAST, blue.mac, 0x0806, &arp(1, blue.mac, blue.address, red.address)));
    assert!(red.receive(NEVER, from_blue).is_none());
    // Nobody answers for the other network's gateway or for loopback.
    for target in [red.gateway, Ipv4Addr::LOCALHOST] {
        blue.send(&ethernet(gateway, blue.mac, 0x0800, &ipv4(1, blue.address, target, &echo_request(3))));
        blue.send(&ethernet(BROADCAST, blue.mac, 0x0806, &arp(1, blue.mac, blue.address, target)));
    }
    let answer = |frame: &[u8]| {
        frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 0
            || frame[12..14] == [8, 6] && frame[21] == 2
    };
    assert!(blue.receive(NEVER, answer).is_none());
}

#[test]
fn f75_one_that_asks_without_end_leaves_the_names_to_the_others() {
    let host = Host::new();
    let daemon = host.start("a");
    let flooding = RawGuest::new(host.lease(&daemon, "flooding"));
    let other = Guest::new(host.lease(&daemon, "other"));
    let gateway = flooding.find_gateway().unwrap();
    // A resolver that never answers, but for one name.
    let resolver = host.outside.run(|| UdpSocket::bind((OUTSIDE, 53)).unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = resolver.recv_from(&mut buffer) {
            if buffer[..length].windows(4).any(|window| window == b"good") {
                let mut answer = buffer[..length].to_vec();
                answer[2] |= 0x80;
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 1]);
                drop(resolver.send_to(&answer, peer));
            }
        }
    });
    let query = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3][..], b"bad", &[0, 0, 1, 0, 1]].concat();
    let datagram = |port: u16| udp((flooding.address, port), (flooding.gateway, 53), &query);
    let flood = || {
        for port in 1..2000 {
            let packet = ipv4(17, flooding.address, flooding.gateway, &datagram(port));
            let frame = ethernet(gateway, flooding.mac, 0x0800, &packet);
            let _lost = rustix::io::write(&flooding.socket, &[&[0; 10], &frame[..]].concat());
        }
    };
    for _ in 0..5 {
        flood();
        assert_eq!(ask(&other, "good.example", TYPE_A), (0, vec![OUTSIDE]));
        assert_eq!(ask(&other, "flooding", TYPE_A), (0, vec![flooding.address]));
    }
}

#[test]
fn answers_of_the_hosts_resolver_are_remembered_for_as_long_as_they_live() {
    let host = Host::new();
    let daemon = host.start("a");
    let asking = Guest::new(host.lease(&daemon, "asking"));
    let resolver = host.outside.run(|| UdpSocket::bind((OUTSIDE, 53)).unwrap());
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = resolver.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            // The first label says how long the record lives: up to 9 s.
            let life_s = answer[13] - b'0';
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, life_s, 0, 4, 203, 0, 113, 1]);
            sender.send(()).unwrap();
            drop(resolver.send_to(&answer, peer));
        }
    });
    let count = |name: &str, times: usize| {
        for _ in 0..times {
            assert_eq!(ask(&asking, name, TYPE_A), (0, vec![OUTSIDE]));
        }
        asked.try_iter().count()
    };
    assert_eq!(count("9.example", 3), 1);
    // More, where an answer was late and was asked for again.
    assert!(count("0.example", 3) >= 3, "what does not live is not kept");
    assert!(count("1.example", 1) >= 1);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(count("1.example", 1) >= 1, "what has died is not kept");
}
