//! Networks of an ordinary user, on a host of its own.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use bulkhead_tests::{
    Installation, Outside, OwnHost, PATIENCE, exchange, require_program, serve_echo, wait_until,
};
use serde_json::Value;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn installation() -> Installation {
    require_program("slirp4netns", "slirp4netns");
    Installation::of_ordinary_user(OwnHost::new())
}

fn exec(installation: &Installation, id: &str, script: &str) -> bulkhead_tests::Outcome {
    installation.container(&["exec", id, "sh", "-c", script])
}

/// Whether a port of the host answers with what it is told.
fn answers(installation: &Installation, address: SocketAddr) -> bool {
    installation.host().run(move || exchange(address)).is_some_and(|answer| answer == b"hello")
}

fn host_port(installation: &Installation, id: &str, index: usize) -> u16 {
    let snapshot = installation.snapshot(id);
    let port = &snapshot["status"]["publishedPorts"][index]["hostPort"];
    u16::try_from(port.as_u64().unwrap()).unwrap()
}

/// Somebody on another network, who says hello on port 7000.
fn outside(installation: &Installation) -> Outside {
    installation.host().run(|| {
        Outside::new(|address, ready| {
            let listener = TcpListener::bind((address, 7000)).unwrap();
            ready.send(()).unwrap();
            std::thread::spawn(move || {
                listener.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"hello\n")));
            });
        })
    })
}

fn visit(installation: &Installation, id: &str, address: impl Into<IpAddr>, port: u16) -> String {
    let address = address.into();
    // Who is connected and hears nothing must not wait for ever.
    exec(installation, id, &format!("timeout 5 nc -w 2 {address} {port} < /dev/null")).text()
}

#[test]
fn networks_names_and_ports_are_as_for_root() {
    let installation = installation();
    installation.run_ok(&["network", "create", "foo", "--subnet", "192.168.100.0/24"]);
    let ports = ["-p", "127.0.0.1::7000", "-p", "[::1]:0:7000", "-p", "7000/udp"];
    let web = [&["run", "-d", "--name", "web", "--network", "foo"][..], &ports, &["demo", "sleep", "600"]];
    installation.run_ok(&web.concat());
    installation.run_ok(&["run", "-d", "--name", "other", "demo", "sleep", "600"]);
    serve_echo(&installation, "web", 7000);
    let ask = "ping -c 1 -W 5 web && echo hello | nc -w 5 web 7000";
    let friend = installation.run_ok(&["run", "--rm", "--network", "foo", "demo", "sh", "-c", ask]);
    assert!(friend.ends_with("hello"), "{friend}");
    assert_ne!(exec(&installation, "other", "nslookup web").code, 0);
    assert_ne!(exec(&installation, "other", "nc -w 1 192.168.100.2 7000 < /dev/null").code, 0);

    for (index, address) in [LOCAL, "::1".parse().unwrap()].into_iter().enumerate() {
        let address = SocketAddr::new(address, host_port(&installation, "web", index));
        wait_until("the published port", || answers(&installation, address));
    }
    let port = host_port(&installation, "web", 2);
    let datagram = installation.host().run(move || {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        socket.connect((LOCAL, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(b"datagram").unwrap();
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    });
    assert_eq!(datagram, b"datagram");

    let low = installation.container(&["run", "--rm", "-p", "80:80", "demo", "true"]);
    assert_ne!(low.code, 0);
    let told = "Permission denied while binding to host port 80. \
                Binding to ports below 1024 requires root privileges.";
    assert!(low.stderr.contains(told) && low.stderr.lines().count() == 1, "{low:?}");
    let status: Value =
        serde_json::from_str(&installation.run_ok(&["system", "status", "--format", "json"])).unwrap();
    assert_eq!(
        (status["network"]["mode"].as_str(), &status["network"]["advice"]),
        (Some("rootless"), &serde_json::json!([]))
    );

    // Nothing is left: no process, no socket.
    installation.run_ok(&["system", "stop"]);
    wait_until("the end of all processes", || installation.processes().is_empty());
    let left = fs::read_dir(installation.folder().join("run")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| name.ends_with(".lock") || name == "c"), "{left:?}");
}

/// As root's do; and nothing else of the host.
#[test]
fn containers_reach_published_ports_by_the_hosts_addresses() {
    let installation = installation();
    let outside = outside(&installation);
    let own = outside.host_address();
    installation.run_ok(&["network", "create", "foo"]);
    let ports =
        ["-p", "8080:7000", "-p", "8081-8083:6999-7001", "-p", "8080:7000/udp", "-p", "127.0.0.1:8090:7000"];
    let web = [&["run", "-d", "--name", "web", "--network", "foo"][..], &ports, &["demo", "sleep", "600"]];
    installation.run_ok(&web.concat());
    serve_echo(&installation, "web", 7000);
    installation.run_ok(&["run", "-d", "--name", "other", "demo", "sleep", "600"]);
    let denied = ["run", "-d", "--name", "none", "--egress", "none", "demo", "sleep", "600"];
    installation.run_ok(&denied);
    let rule = format!("allow={own}:8080");
    installation.run_ok(&["run", "-d", "--name", "some", "--egress", &rule, "demo", "sleep", "600"]);
    let ask = |id: &str, host: &str, port: u16| {
        let script = format!("echo hello | timeout 5 nc -w 2 {host} {port}");
        exec(&installation, id, &script).text().contains("hello")
    };
    let own = own.to_string();
    wait_until("the port", || ask("other", &own, 8080));
    for id in ["other", "web"] {
        for host in [&own, "host.docker.internal"] {
            assert!(ask(id, host, 8080) && ask(id, host, 8082), "{id} to {host}");
        }
    }
    let named = [
        "run",
        "-d",
        "--name",
        "named",
        "--egress",
        "allow=host.docker.internal:8080",
        "demo",
        "sleep",
        "600",
    ];
    installation.run_ok(&named);
    assert!(ask("named", "host.docker.internal", 8080) && !ask("named", "host.docker.internal", 8082));
    assert!(!ask("named", &own, 8080));
    assert!(ask("some", &own, 8080) && !ask("some", &own, 8082) && !ask("none", &own, 8080));
    // An echo is no answer to a question, but one that it hears.
    let question = format!("nslookup example.org {own}:8080 2>&1");
    let heard = exec(&installation, "other", &question).text();
    assert!(heard.contains("Non-authoritative"), "{heard}");

    let _service = installation.host().run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).unwrap());
    for (host, port) in [(own.as_str(), 9000), (&own, 8090), ("host.docker.internal", 8090), (&own, 8084)] {
        let script = format!("timeout 20 nc -w 19 {host} {port} < /dev/null; echo $?");
        // Told so, not after a time-out.
        assert_eq!(exec(&installation, "other", &script).text(), "1\n", "{host}:{port}");
    }
    assert!(!ask("other", "192.168.65.2", 7000), "not by the container's own address");

    // Both again after a death; and no more when it ends.
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    wait_until("the port", || ask("other", &own, 8080));
    installation.run_ok(&["stop", "-t", "0", "web"]);
    wait_until("the end", || !ask("other", &own, 8080));
}

#[test]
fn servers_see_who_asks_at_published_ports() {
    let installation = installation();
    installation.run_ok(&["network", "create", "six", "--subnet-v6", "fd12:3456:789a::/64"]);
    let ports = ["-p", "8080:8080", "-p", "[::]:8080:8080"];
    let server = ["demo", "httpd", "-f", "-vv", "-p", "8080"];
    let run = [&["run", "-d", "--name", "log", "--network", "six"][..], &ports, &server];
    installation.run_ok(&run.concat());
    // As a host with addresses of its own sees them.
    let outside = installation.host().run(|| Outside::with_ipv6(|_, ready| ready.send(()).unwrap()));
    let (own6, _) = outside.addresses6();
    for own in [IpAddr::from(outside.host_address()), own6.into()] {
        let client = installation.host().run(move || {
            let mut stream = TcpStream::connect((own, 8080)).unwrap();
            stream.write_all(b"GET /nothing HTTP/1.0\r\n\r\n").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            stream.local_addr().unwrap()
        });
        let named = match client.ip() {
            IpAddr::V4(address) => format!("[::ffff:{address}]:{}: ", client.port()),
            IpAddr::V6(address) => format!("[{address}]:{}: ", client.port()),
        };
        wait_until("the server's log names the client", || {
            installation.container(&["logs", "log"]).stderr.contains(&named)
        });
    }
}

#[test]
fn networks_have_ipv6_that_ask_for_it() {
    let installation = installation();
    installation.run_ok(&["network", "create", "six", "--subnet-v6", "fd12:3456:789a::/64"]);
    installation.run_ok(&["run", "-d", "--name", "web", "--network", "six", "demo", "sleep", "600"]);
    let ask = "ping -6 -c 1 -W 5 web";
    let answer = installation.run_ok(&["run", "--rm", "--network", "six", "demo", "sh", "-c", ask]);
    assert!(answer.contains("1 packets received"), "{answer}");
    // It outlives container-network as IPv4 does.
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    wait_until("IPv6", || {
        let again = ["run", "--rm", "--network", "six", "demo", "sh", "-c", ask];
        installation.container(&again).text().contains("1 packets received")
    });
}

#[test]
fn the_outside_is_reached_and_the_host_is_not() {
    let installation = installation();
    let outside = outside(&installation);
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    // The way out may come a little later than the first container.
    wait_until("the way out", || visit(&installation, "box", outside.address(), 7000) == "hello\n");

    // Neither at an address that it had nor at one that it gets.
    let later = Ipv4Addr::new(198, 51, 100, 1);
    let listener = installation.host().run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7001)).unwrap());
    listener.set_nonblocking(true).unwrap();
    installation.host().run(move || {
        let address = format!("{later}/32");
        let added = Command::new("ip").args(["address", "add", &address, "dev", "lo"]).status().unwrap();
        assert!(added.success());
    });
    let log = installation.folder().join("log/network.log");
    // Seen within moments; a container that asks meanwhile is one that asked before.
    wait_until("the rule about the new address", || {
        installation.host().run(move || TcpStream::connect((later, 7001)).is_ok())
            && listener.accept().is_ok()
            && visit(&installation, "box", later, 7001).is_empty()
            && listener.accept().is_err()
    });
    for address in [outside.host_address(), later] {
        assert_eq!(visit(&installation, "box", address, 7001), "");
        assert!(listener.accept().is_err(), "a container reached {address} of the host");
    }

    // One that dies is replaced.
    for pid in installation.pids("slirp4netns") {
        installation.kill(pid);
    }
    wait_until("the way out", || visit(&installation, "box", outside.address(), 7000) == "hello\n");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("slirp4netns ended: signal: 9"), "{log}");
}

/// Whether a container hears hello from port 7000 of the outside by IPv6.
fn hears_outside(installation: &Installation, id: &str, outside: &Outside) -> bool {
    let (_, address) = outside.addresses6();
    visit(installation, id, address, 7000) == "hello\n"
}

#[test]
fn the_outside_is_reached_by_ipv6_and_the_host_is_not() {
    let installation = installation();
    let outside = installation.host().run(|| {
        Outside::with_ipv6(|_, ready| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7000)).unwrap();
            let names = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 53)).unwrap();
            ready.send(()).unwrap();
            std::thread::spawn(move || {
                listener.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"hello\n")));
            });
            std::thread::spawn(move || {
                let mut message = [0; 512];
                while let Ok((length, peer)) = names.recv_from(&mut message) {
                    // Nobody has that name: RFC 1035, section 4.1.1.
                    message[2..4].copy_from_slice(&[0x81, 0x83]);
                    let _ = names.send_to(&message[..length], peer);
                }
            });
        })
    });
    let (own, address) = outside.addresses6();
    // Where slirp4netns has its own addresses, a network of ours may be all the same.
    installation.run_ok(&["network", "create", "six", "--subnet-v6", "fd00::/64"]);
    let run = ["run", "-d", "--network", "six", "--name"];
    installation.run_ok(&[&run[..], &["box", "demo", "sleep", "600"]].concat());
    let rule = format!("allow=[{address}]:7000");
    installation.run_ok(&[&run[..], &["some", "--egress", &rule, "demo", "sleep", "600"]].concat());
    installation.run_ok(&[&run[..], &["none", "--egress", "none", "demo", "sleep", "600"]].concat());
    for id in ["box", "some"] {
        wait_until("the way out", || hears_outside(&installation, id, &outside));
    }
    assert!(!hears_outside(&installation, "none", &outside));
    let ask = format!("nslookup example.org {address} 2>&1");
    wait_until("a datagram", || exec(&installation, "box", &ask).text().contains("NXDOMAIN"));
    assert_eq!(exec(&installation, "box", "ping -6 -c 1 -W 5 some").code, 0);

    // Neither at an address that it had nor at one that it gets.
    let later = Ipv6Addr::new(0x2001, 2, 0, 0xffff, 0, 0, 0, 1);
    let listener = installation.host().run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7001)).unwrap());
    listener.set_nonblocking(true).unwrap();
    installation.host().run(move || {
        let address = format!("{later}/128");
        let added = Command::new("ip").args(["address", "add", &address, "dev", "lo"]).status().unwrap();
        assert!(added.success());
    });
    wait_until("the rule about the new address", || {
        installation.host().run(move || TcpStream::connect((later, 7001)).is_ok())
            && listener.accept().is_ok()
            && visit(&installation, "box", later, 7001).is_empty()
            && listener.accept().is_err()
    });
    for address in [own, later] {
        assert_eq!(visit(&installation, "box", address, 7001), "");
        assert!(listener.accept().is_err(), "a container reached {address} of the host");
    }

    // It comes back with whoever died.
    for program in ["slirp4netns", "container-network"] {
        for pid in installation.pids(program) {
            installation.kill(pid);
        }
        wait_until("the way out", || hears_outside(&installation, "box", &outside));
        assert!(!hears_outside(&installation, "none", &outside));
        assert_eq!(visit(&installation, "box", own, 7001), "");
        assert!(listener.accept().is_err(), "a container reached the host after the death of {program}");
    }
}

#[test]
fn the_death_of_container_network_is_survived() {
    let installation = installation();
    let outside = outside(&installation);
    installation.run_ok(&["run", "-d", "--name", "one", "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "two", "-p", "7000", "demo", "sleep", "600"]);
    serve_echo(&installation, "two", 7000);
    let before = installation.snapshot("two");
    let port = SocketAddr::new(LOCAL, host_port(&installation, "two", 0));
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    wait_until("the published port", || answers(&installation, port));
    wait_until("names", || exec(&installation, "one", "nslookup two").code == 0);
    assert_eq!(exec(&installation, "one", "ping -c 1 -W 5 two").code, 0);
    wait_until("the way out", || visit(&installation, "one", outside.address(), 7000) == "hello\n");
    assert_eq!(installation.snapshot("two")["status"], before["status"]);

    // Killed with nobody to start it again, and at the end nothing is left all the same.
    installation.run_ok(&["stop", "-t", "0", "--all"]);
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    installation.run_ok(&["system", "stop"]);
    assert!(!installation.folder().join("run/network.ns").exists());
}

#[test]
fn without_slirp4netns_there_is_one_line_and_all_but_the_outside() {
    let host = OwnHost::new();
    host.hide_program("slirp4netns");
    let installation = Installation::of_ordinary_user(host);
    installation.run_ok(&["system", "stop"]);
    let started = installation.container(&["system", "start"]).expect_code(0);
    let told = "slirp4netns is not installed: containers reach each other and are reached at published ports, \
                but they reach no other host. Mend it with: sudo apt-get install slirp4netns";
    assert!(started.stderr.contains(&format!("Warning: {told}\n")), "{started:?}");
    assert!(installation.run_ok(&["system", "status"]).contains(told));
    let outside = outside(&installation);
    installation.run_ok(&["run", "--rm", "--network", "none", "demo", "true"]);
    installation.run_ok(&["run", "-d", "--name", "one", "-p", "7000", "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "two", "demo", "sleep", "600"]);
    serve_echo(&installation, "one", 7000);
    let port = SocketAddr::new(LOCAL, host_port(&installation, "one", 0));
    wait_until("the published port", || answers(&installation, port));
    assert_eq!(exec(&installation, "two", "ping -c 1 -W 5 one").code, 0);
    assert_eq!(visit(&installation, "two", outside.address(), 7000), "");
}

#[test]
fn egress_policies_hold() {
    let installation = installation();
    let outside = outside(&installation);
    let rule = format!("allow={}:7000", outside.address());
    installation.run_ok(&["run", "-d", "--name", "some", "--egress", &rule, "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "none", "--egress", "none", "demo", "sleep", "600"]);
    wait_until("the way out", || visit(&installation, "some", outside.address(), 7000) == "hello\n");
    assert_eq!(visit(&installation, "none", outside.address(), 7000), "");
    let destination = format!("{}:7000", outside.address());
    wait_until("the event", || {
        let events = ["events", "--since", "1h", "--until", "0s", "--format", "json"];
        let lines = installation.run_ok(&[&events[..], &["--filter", "event=egress-denied"]].concat());
        let mut events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.any(|event| event["id"] == "none" && event["attributes"]["destination"] == destination)
    });
}
