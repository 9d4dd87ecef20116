//! What becomes of the host's own networks when it has to forward for containers.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use bulkhead_network_control::Request;
use support::guest::Guest;
use support::namespace::{Namespace, run_program};
use support::{HOST, Host, OUTSIDE, SOON};

const PORT: u16 = 7000;
const NEVER: Duration = Duration::from_millis(300);

/// Another network of the host's, with somebody on it who listens. The device has this name.
fn network_behind(host: &Host, device: &'static str, third: u8) -> (Namespace, Ipv4Addr) {
    let (near, far) = (Ipv4Addr::new(10, 55, third, 1), Ipv4Addr::new(10, 55, third, 2));
    let namespace = Namespace::new();
    let thread = namespace.thread_id().to_string();
    host.host.run(move || {
        let peer = ["type", "veth", "peer", "name", "wan", "netns", &thread];
        run_program("ip", &[&["link", "add", device][..], &peer].concat());
        run_program("ip", &["address", "add", &format!("{near}/24"), "dev", device]);
        run_program("ip", &["link", "set", device, "up"]);
    });
    let listener = namespace.run(move || {
        run_program("ip", &["address", "add", &format!("{far}/24"), "dev", "wan"]);
        run_program("ip", &["link", "set", "wan", "up"]);
        run_program("ip", &["route", "add", "default", "via", &near.to_string()]);
        TcpListener::bind((far, PORT)).unwrap()
    });
    // Until the test ends.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    host.outside.run(move || {
        run_program("ip", &["route", "add", &format!("{far}/32"), "via", &HOST.to_string()]);
    });
    (namespace, far)
}

fn is_reached_from_outside(host: &Host, address: Ipv4Addr, limit: Duration) -> bool {
    host.outside.run(move || TcpStream::connect_timeout(&(address, PORT).into(), limit).is_ok())
}

#[test]
fn a_host_that_did_not_forward_is_no_router_because_of_us() {
    let host = Host::new();
    host.host.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
    let (_lan, inside) = network_behind(&host, "lan", 1);
    assert!(!is_reached_from_outside(&host, inside, NEVER));

    let server = host.outside.run(|| UdpSocket::bind((OUTSIDE, PORT)).unwrap());
    server.set_read_timeout(Some(SOON)).unwrap();
    let daemon = host.start("a");
    let guest = Guest::new(host.lease(&daemon, "one"));
    assert_eq!(host.forwarding(), "1");
    guest.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", (OUTSIDE, PORT)).unwrap());
    assert_eq!(server.recv_from(&mut [0; 10]).unwrap().1.ip(), HOST);
    assert!(!is_reached_from_outside(&host, inside, NEVER));
    // Devices that were there before did without forwarding.
    host.request(&daemon, Request::Shutdown).unwrap();
    assert_eq!(host.forwarding(), "0");

    // What is made while it is on may rely on it, and is neither hindered nor left alone.
    let daemon = host.start("b");
    drop(host.lease(&daemon, "one"));
    let (_later, later) = network_behind(&host, "later", 2);
    assert!(is_reached_from_outside(&host, later, SOON));
    assert!(!is_reached_from_outside(&host, inside, NEVER));
    host.request(&daemon, Request::Shutdown).unwrap();
    assert_eq!(host.forwarding(), "1");
}

#[test]
fn a_host_that_forwarded_goes_on_with_that() {
    let host = Host::new();
    host.host.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    let (_lan, inside) = network_behind(&host, "lan", 1);
    let daemon = host.start("a");
    drop(host.lease(&daemon, "one"));
    assert!(is_reached_from_outside(&host, inside, SOON));
    host.request(&daemon, Request::Shutdown).unwrap();
    assert_eq!(host.forwarding(), "1");
    assert!(is_reached_from_outside(&host, inside, SOON));
}
