//! The default network.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use bulkhead_tests::{Installation, Outside, wait_until};

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
    let (report, reported) = mpsc::channel();
    let outside = Outside::new(move |address, ready| {
        let listener = TcpListener::bind((address, 7000)).unwrap();
        ready.send(()).unwrap();
        let (mut connection, peer) = listener.accept().unwrap();
        connection.write_all(b"from outside\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        report.send((peer.ip(), text)).unwrap();
    });
    let script = format!("echo hello | nc -w 5 {} 7000", outside.address());
    let outcome = installation.container(&["run", "--rm", "demo", "sh", "-c", &script]);
    assert_eq!(outcome.text(), "from outside\n", "{outcome:?}");
    let (peer, text) = reported.recv().unwrap();
    assert_eq!(text, "hello\n");
    // The outside has no route to the container's own address, so this is what NAT is for.
    assert_eq!(peer, outside.host_address());
}

#[test]
fn the_hosts_own_services_are_out_of_reach() {
    let installation = Installation::with_demo();
    let outside = Outside::new(|_, ready| ready.send(()).unwrap());
    let listener = TcpListener::bind((outside.host_address(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("nc -w 1 {} {port} < /dev/null", outside.host_address());
    let outcome = installation.container(&["run", "--rm", "demo", "sh", "-c", &script]);
    assert_ne!(outcome.code, 0, "{outcome:?}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a container reached a service of the host");
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
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "--rm", "demo", "true"]);
    let root = installation.folder().join("run");
    let [number] = &uplinks_of(&root)[..] else { panic!("{:?}", uplinks_of(&root)) };
    let device = format!("bhu{number}");
    let rules = || {
        let output = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = format!("bulkhead-{device}\n");
    assert!(host_has_link(&device) && rules().contains(&table), "{device}: {}", rules());
    installation.run_ok(&["system", "stop"]);
    assert_eq!(uplinks_of(&root), Vec::<String>::new());
    // Another test may have the number by now, and then says so itself.
    if !uplinks().iter().any(|(other, _)| other == number) {
        assert!(!host_has_link(&device) && !rules().contains(&table), "{device}: {}", rules());
    }
}

fn host_has_link(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Numbers of the uplinks of one installation.
fn uplinks_of(runtime_root: &Path) -> Vec<String> {
    let all = uplinks().into_iter();
    all.filter(|(_, owner)| Path::new(owner) == runtime_root).map(|(number, _)| number).collect()
}

/// Numbers and owners of all uplinks of this host.
fn uplinks() -> Vec<(String, String)> {
    use std::os::unix::fs::MetadataExt;
    let namespace = fs::metadata("/proc/self/ns/net").unwrap().ino();
    // It is there as long as somebody has one.
    let Ok(folder) = fs::read_dir(format!("/run/bulkhead-uplinks/{namespace}")) else { return Vec::new() };
    let entries = folder.map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let number = path.file_name()?.to_str()?.to_owned();
        // Others come and go.
        number.parse::<u32>().ok()?;
        Some((number, fs::read_to_string(path).ok()?))
    };
    entries.filter_map(read).collect()
}

#[test]
fn killing_container_network_cuts_nothing_for_long() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "one", "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "two", "-p", "7000", "demo", "sleep", "600"]);
    let before = installation.snapshot("two");
    let port = before["status"]["publishedPorts"][0]["hostPort"].as_u64().unwrap();
    let port = u16::try_from(port).unwrap();
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    // Nobody asked for it, and it is back: with its ports, names and everything else.
    wait_until("the published port", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    let exec = |script: &str| installation.container(&["exec", "one", "sh", "-c", script]);
    // The one that was killed may have taken the connection with its last breath.
    wait_until("names", || exec("nslookup two").code == 0);
    assert_eq!(exec("ping -c 1 -W 5 two").code, 0);
    let after = installation.snapshot("two");
    assert_eq!(after["status"], before["status"]);
    // Killed with nobody to start it again, and at the end nothing is left all the same.
    installation.run_ok(&["stop", "-t", "0", "--all"]);
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    installation.run_ok(&["system", "stop"]);
    assert!(!installation.folder().join("run/network.ns").exists());
}
