//! The default network.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use bulkhead_tests::Installation;

#[test]
fn every_container_has_an_address_a_gateway_and_names() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "first", "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "second", "demo", "sleep", "600"]);
    let network = &installation.snapshot("first")["status"]["networks"][0];
    let address = network["ipv4Address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    let gateway = network["ipv4Gateway"].as_str().unwrap().to_owned();
    let exec = |script: &str| installation.container(&["exec", "second", "sh", "-c", script]);
    assert_eq!(exec(&format!("ping -c 1 -W 5 {gateway}")).code, 0);
    assert_eq!(exec(&format!("ping -c 1 -W 5 {address}")).code, 0);
    let found = exec("nslookup first");
    assert!(found.text().contains(&address), "{found:?}");
    assert!(installation.run_ok(&["exec", "first", "cat", "/etc/hosts"]).contains(&address));
}

#[test]
fn the_outside_is_reached_through_nat() {
    let installation = Installation::with_demo();
    // A server on an address of the host that is not loopback.
    let address = host_address();
    let listener = TcpListener::bind((address.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut connection, peer) = listener.accept().unwrap();
        connection.write_all(b"from outside\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        (peer.ip().to_string(), text)
    });
    let script = format!("echo hello | nc -w 5 {address} {port}");
    let outcome = installation.container(&["run", "--rm", "demo", "sh", "-c", &script]);
    assert_eq!(outcome.text(), "from outside\n", "{outcome:?}");
    let (peer, text) = server.join().unwrap();
    assert_eq!(text, "hello\n");
    assert!(!peer.starts_with("192.168.64."), "the container's own address was seen outside: {peer}");
}

#[test]
fn no_network_means_loopback_only() {
    let installation = Installation::with_demo();
    let links = installation.run_ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "demo",
        "sh",
        "-c",
        "ip -o link | wc -l; ping -c 1 127.0.0.1 >/dev/null && echo up",
    ]);
    assert_eq!(links, "1\nup");
}

#[test]
fn nothing_is_left_on_the_host_after_stop() {
    let before = host_links();
    {
        let installation = Installation::with_demo();
        installation.run_ok(&["run", "--rm", "demo", "true"]);
    }
    let after: Vec<String> = host_links().into_iter().filter(|link| !before.contains(link)).collect();
    // Other tests run at the same time and have links of their own; theirs carry their own folder.
    let own = format!("bh-{}", std::process::id());
    assert!(after.iter().all(|link| !link.contains(&own)), "{after:?}");
}

fn host_links() -> Vec<String> {
    std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let alias = std::fs::read_to_string(path.join("ifalias")).unwrap_or_default();
            format!("{} {alias}", path.display())
        })
        .collect()
}

/// The source address towards anywhere; nothing is sent.
fn host_address() -> String {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.connect(("192.0.2.200", 9)).unwrap();
    socket.local_addr().unwrap().ip().to_string()
}
