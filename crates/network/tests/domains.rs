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
use support::{Daemon, HOST, Host, default_network, plain};

const SOON: Duration = Duration::from_secs(5);
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
