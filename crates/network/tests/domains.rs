//! Domains: the host finds containers by name, and containers what listens on the host's loopback.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use bulkhead_network_control::{
    ClientError, Domain, FailureCode, LeaseRequest, NameServer, NetworkConfiguration, Reply, Request,
};
use support::guest::Guest;
use support::namespace::{Namespace, run_program};
use support::query::{self, TYPE_A};
use support::{Daemon, HOST, Host, SOON, default_network, plain};

/// What is dropped is never answered.
const NEVER: Duration = Duration::from_millis(300);
/// Stands for the host's loopback.
const REDIRECTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const WEB_PORT: u16 = 8080;

fn domain(name: &str, localhost: Option<Ipv4Addr>) -> Domain {
    Domain { name: name.to_owned(), localhost }
}

fn set(host: &Host, daemon: &Daemon, domains: Vec<Domain>) -> Result<NameServer, ClientError> {
    let (reply, _) = host.request(daemon, Request::SetDomains { domains })?;
    let Reply::NameServer(server) = reply else { panic!("{reply:?}") };
    Ok(server)
}

/// Answers every connection with one word.
fn serve(namespace: &Namespace, address: Ipv4Addr) {
    let listener = namespace.run(move || TcpListener::bind((address, WEB_PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _gone = stream.unwrap().write_all(b"hello");
        }
    });
}

fn greeted(namespace: &Namespace, address: Ipv4Addr, limit: Duration) -> bool {
    namespace.run(move || {
        let address = SocketAddr::from((address, WEB_PORT));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else { return false };
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok_and(|_| text == "hello")
    })
}

fn ask(namespace: &Namespace, server: SocketAddr, name: &str) -> (u8, Vec<Ipv4Addr>) {
    query::ask(namespace, server, name, TYPE_A)
}

#[test]
fn the_host_finds_and_reaches_containers_of_all_networks_while_there_is_a_domain() {
    let host = Host::new();
    let daemon = host.start("a");
    host.request(&daemon, Request::CreateNetwork(default_network())).unwrap();
    let web = Guest::new(host.lease(&daemon, "web"));
    serve(&web.namespace, Ipv4Addr::UNSPECIFIED);
    assert!(!greeted(&host.host, web.address, NEVER), "the host reaches containers without being asked");

    let server = set(&host, &daemon, vec![domain("test", None)]).unwrap();
    let address = server.address.unwrap();
    assert!(!server.is_known_to_host);
    assert_eq!(ask(&host.host, address, "web.test"), (0, vec![web.address]));
    assert!(greeted(&host.host, web.address, SOON));
    // As well as one that comes later, on a network that comes later.
    let closed = NetworkConfiguration {
        name: "closed".to_owned(),
        ipv4_subnet: Some("192.168.100.0/24".to_owned()),
        ipv6_subnet: None,
        internal: true,
        options: std::collections::BTreeMap::new(),
    };
    host.request(&daemon, Request::CreateNetwork(closed.clone())).unwrap();
    let db = LeaseRequest { network: "closed".to_owned(), ..plain("db.one") };
    let db = Guest::new(host.lease_as(&daemon, db).unwrap());
    serve(&db.namespace, Ipv4Addr::UNSPECIFIED);
    for name in ["db.one.test", "DB.test"] {
        assert_eq!(ask(&host.host, address, name), (0, vec![db.address]), "{name}");
    }
    assert!(greeted(&host.host, db.address, SOON));
    // Others find nothing, and containers do not find what only the host may.
    assert_eq!(ask(&host.host, address, "other.test").0, 3);
    assert_eq!(ask(&host.host, address, "web").0, 3);
    assert_eq!(ask(&web.namespace, (web.gateway, 53).into(), "web.test"), (0, vec![web.address]));
    assert!(ask(&web.namespace, (web.gateway, 53).into(), "db.test").1.is_empty());
    // Nobody outside comes in by the host's routes, and the networks stay apart.
    host.outside.run(|| run_program("ip", &["route", "add", "192.168.0.0/16", "via", &HOST.to_string()]));
    assert!(!greeted(&host.outside, web.address, NEVER));
    // Nor does it ask the host's server for names.
    let SocketAddr::V4(local) = address else { panic!("{address}") };
    let route = format!("{}/32", local.ip());
    host.outside.run(move || {
        run_program("ip", &["route", "add", &route, "via", &HOST.to_string()]);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(NEVER)).unwrap();
        socket.send_to(&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1], local).unwrap();
        assert!(socket.recv(&mut [0; 512]).is_err(), "a stranger was answered");
    });
    assert!(!greeted(&web.namespace, db.address, NEVER) && !greeted(&db.namespace, web.address, NEVER));
    // The same network can be made anew although the host has a route to it: it is ours.
    host.request(&daemon, Request::Release { container_id: "db.one".to_owned() }).unwrap();
    drop(db);
    host.request(&daemon, Request::DeleteNetwork { name: "closed".to_owned() }).unwrap();
    host.request(&daemon, Request::CreateNetwork(closed)).unwrap();

    assert_eq!(set(&host, &daemon, Vec::new()).unwrap().address, None);
    assert!(!greeted(&host.host, web.address, NEVER));
    assert!(!host.host.run(|| run_program("ip", &["route"])).contains("192.168"));
    drop(daemon);
    assert!(!host.rules().contains("bulkhead") && !host.devices().contains("bhu"));
}

#[test]
fn f74_only_an_address_that_was_opened_leads_to_the_hosts_loopback() {
    let host = Host::new();
    let daemon = host.start("a");
    host.request(&daemon, Request::CreateNetwork(default_network())).unwrap();
    let guest = Guest::new(host.lease(&daemon, "guest"));
    serve(&host.host, Ipv4Addr::LOCALHOST);
    serve(&host.host, HOST);
    assert!(!greeted(&guest.namespace, REDIRECTED, NEVER));

    let domains = vec![domain("host.container.internal", Some(REDIRECTED))];
    let server = set(&host, &daemon, domains.clone()).unwrap().address.unwrap();
    let name = "host.container.internal";
    assert_eq!(ask(&guest.namespace, (guest.gateway, 53).into(), name), (0, vec![REDIRECTED]));
    assert_eq!(ask(&host.host, server, name), (0, vec![Ipv4Addr::LOCALHOST]));
    assert!(greeted(&guest.namespace, REDIRECTED, SOON));
    // Nothing else of the host, by no other address.
    for address in [HOST, Ipv4Addr::new(198, 51, 100, 8)] {
        assert!(!greeted(&guest.namespace, address, NEVER), "{address}");
    }
    // The rules come back with it when somebody removes them.
    host.host.run(|| run_program("nft", &["flush", "ruleset"]));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !greeted(&guest.namespace, REDIRECTED, NEVER) {
        assert!(std::time::Instant::now() < deadline, "{}", host.rules());
    }
    set(&host, &daemon, Vec::new()).unwrap();
    assert!(!greeted(&guest.namespace, REDIRECTED, NEVER));

    // Where the host's names cannot be served, nothing is opened either.
    let held = host.host.run(move || [53, 2053].map(|port| UdpSocket::bind((server.ip(), port)).unwrap()));
    assert!(set(&host, &daemon, domains.clone()).is_err());
    assert!(!greeted(&guest.namespace, REDIRECTED, NEVER));
    drop(held);
    set(&host, &daemon, domains).unwrap();
    assert!(greeted(&guest.namespace, REDIRECTED, SOON));
    set(&host, &daemon, Vec::new()).unwrap();

    for bad in [Ipv4Addr::LOCALHOST, guest.gateway, Ipv4Addr::new(169, 254, 169, 254)] {
        let outcome = set(&host, &daemon, vec![domain("x.internal", Some(bad))]);
        let refused =
            matches!(&outcome, Err(ClientError::Refused(it)) if it.code == FailureCode::InvalidArgument);
        assert!(refused, "{bad}: {outcome:?}");
    }
}

fn network(name: &str, subnet: &str) -> NetworkConfiguration {
    let (name, ipv4_subnet) = (name.to_owned(), Some(subnet.to_owned()));
    NetworkConfiguration { name, ipv4_subnet, ..default_network() }
}

fn is_refused<T: std::fmt::Debug>(outcome: &Result<T, ClientError>, code: FailureCode) -> bool {
    matches!(outcome, Err(ClientError::Refused(failure)) if failure.code == code)
}

#[test]
fn two_installations_have_the_same_subnets_and_the_host_reaches_those_of_the_first_domain() {
    let host = Host::new();
    let (first, second) = (host.start("a"), host.start("b"));
    host.request(&first, Request::CreateNetwork(default_network())).unwrap();
    let web = Guest::new(host.lease(&first, "web"));
    serve(&web.namespace, Ipv4Addr::UNSPECIFIED);
    set(&host, &first, vec![domain("one", None)]).unwrap();

    // A route of ours takes nobody's subnet, but the second cannot lead the host there as well, and says so.
    host.request(&second, Request::CreateNetwork(default_network())).unwrap();
    let twin = Guest::new(host.lease(&second, "twin"));
    assert_eq!(twin.address, web.address);
    let outcome = set(&host, &second, vec![domain("two", None)]);
    assert!(is_refused(&outcome, FailureCode::Exists), "{outcome:?}");
    host.request(&second, Request::Release { container_id: "twin".to_owned() }).unwrap();
    drop(twin);
    host.request(&second, Request::DeleteNetwork { name: "default".to_owned() }).unwrap();
    assert!(greeted(&host.host, web.address, SOON), "the second took the first one's route");

    // Nor are names given out that would lead to the other one's containers.
    host.request(&second, Request::CreateNetwork(network("own", "192.168.70.0/24"))).unwrap();
    let server = set(&host, &second, vec![domain("two", None)]).unwrap().address.unwrap();
    host.request(&second, Request::CreateNetwork(default_network())).unwrap();
    let _twin = host.lease(&second, "twin");
    let own = LeaseRequest { network: "own".to_owned(), ..plain("near") };
    let own = Guest::new(host.lease_as(&second, own).unwrap());
    assert_eq!(ask(&host.host, server, "near.two"), (0, vec![own.address]));
    assert_eq!(ask(&host.host, server, "twin.two"), (3, vec![]));
}

#[test]
fn an_address_that_stands_for_the_hosts_loopback_is_in_no_network() {
    let host = Host::new();
    let daemon = host.start("a");
    set(&host, &daemon, vec![domain("host.internal", Some(REDIRECTED))]).unwrap();
    let around = network("around", "198.51.100.0/24");
    let outcome = host.request(&daemon, Request::CreateNetwork(around.clone()));
    assert!(is_refused(&outcome, FailureCode::Exists), "{outcome:?}");
    set(&host, &daemon, Vec::new()).unwrap();
    host.request(&daemon, Request::CreateNetwork(around)).unwrap();
}

#[test]
fn the_host_is_answered_while_its_rules_are_loaded() {
    let host = Host::new();
    let daemon = host.start("a");
    host.request(&daemon, Request::CreateNetwork(default_network())).unwrap();
    let address = set(&host, &daemon, vec![domain("test", None)]).unwrap().address.unwrap();
    // As on a host with many rules.
    std::fs::create_dir(host.programs()).unwrap();
    let slow = host.programs().join("nft");
    let path = std::env::var("PATH").unwrap();
    std::fs::write(&slow, format!("#!/bin/sh\nsleep 3\nPATH={path}:/usr/sbin exec nft \"$@\"\n")).unwrap();
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let answered = host.host.run(move || {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            socket.send_to(&query::question("web.test", TYPE_A), address).unwrap();
            socket.recv(&mut [0; 512]).is_ok()
        })
    });
    let begin = std::time::Instant::now();
    set(&host, &daemon, vec![domain("test", None), domain("host.internal", Some(REDIRECTED))]).unwrap();
    assert!(begin.elapsed() > Duration::from_secs(2), "the rules were loaded at once");
    assert!(answered.join().unwrap());
    std::fs::remove_file(slow).unwrap();
}
