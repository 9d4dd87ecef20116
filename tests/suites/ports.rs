//! Published ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bulkhead_tests::{
    Installation, PATIENCE, Reply, ScriptedImage, ScriptedRegistry, exchange, read_image, serve_echo,
};
use serde_json::{Value, json};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[track_caller]
fn assert_answers(address: SocketAddr) {
    let began = Instant::now();
    while exchange(address).is_none() {
        assert!(began.elapsed() < PATIENCE, "{address} does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(exchange(address).unwrap(), b"hello");
}

/// The host port of the only published range.
fn chosen(snapshot: &Value) -> u16 {
    let port = snapshot["status"]["publishedPorts"][0]["hostPort"].as_u64().unwrap();
    u16::try_from(port).unwrap()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn streams_and_datagrams_reach_the_container() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1::7000",
        "-p",
        "[::1]:0:7000",
        "-p",
        "7000/udp",
        "demo",
        "sleep",
        "600",
    ]);
    let snapshot = installation.snapshot("web");
    let ports = snapshot["status"]["publishedPorts"].as_array().unwrap();
    let host_port = |index: usize| u16::try_from(ports[index]["hostPort"].as_u64().unwrap()).unwrap();
    assert_eq!(snapshot["configuration"]["publishedPorts"][0]["hostPort"], 0);
    let listed: Value = serde_json::from_str(&installation.run_ok(&["list", "--format", "json"])).unwrap();
    assert_eq!(listed[0]["status"]["publishedPorts"], snapshot["status"]["publishedPorts"]);
    assert_eq!(
        installation.run_ok(&["port", "web"]),
        format!(
            "7000/tcp -> 127.0.0.1:{}\n7000/tcp -> [::1]:{}\n7000/udp -> 0.0.0.0:{}",
            host_port(0),
            host_port(1),
            host_port(2)
        )
    );
    serve_echo(&installation, "web", 7000);
    assert_answers((LOCAL, host_port(0)).into());
    assert_answers((Ipv6Addr::LOCALHOST, host_port(1)).into());
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    socket.connect((LOCAL, host_port(2))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"datagram").unwrap();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"datagram");
    installation.run_ok(&["stop", "-t", "0", "web"]);
    assert!(TcpStream::connect((LOCAL, host_port(0))).is_err(), "the port is bound after stop");
    assert_eq!(installation.run_ok(&["port", "web"]), "");
}

#[test]
fn what_an_image_and_flags_expose_is_published_at_free_ports() {
    let installation = Installation::with_demo();
    let (mut configuration, layer) = read_image(&installation.demo_archive());
    configuration["config"]["ExposedPorts"] = json!({"7000/tcp": {}, "7001/udp": {}, "132/sctp": {}});
    let mut image = ScriptedImage::new(1);
    image.layer = layer;
    image.configuration = configuration.to_string().into_bytes();
    image.manifest = image.manifest_value().to_string().into_bytes();
    let registry = ScriptedRegistry::start(image, |_| Reply::Honest);
    let reference = registry.reference("image:1");

    let taken = format!("127.0.0.1:{}:7000", free_port());
    for (name, flags, expected) in [
        ("all", &["-P"][..], &["7000/tcp -> 0.0.0.0:", "7001/udp -> 0.0.0.0:"][..]),
        (
            "more",
            &["--publish-all", "--expose", "8000-8001", "--expose", "7000/udp", "-p", &taken],
            &[
                "7000/tcp -> 127.0.0.1:",
                "8000/tcp -> 0.0.0.0:",
                "8001/tcp -> 0.0.0.0:",
                "7000/udp -> 0.0.0.0:",
                "7001/udp -> 0.0.0.0:",
            ],
        ),
        // What is exposed is only told.
        ("none", &["--expose", "9000"], &[]),
    ] {
        let words = [&["run", "-d", "--name", name], flags, &[&reference, "sleep", "600"]].concat();
        installation.run_ok(&words);
        let shown = installation.run_ok(&["port", name]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{name}: {shown}");
        for (line, beginning) in lines.iter().zip(expected) {
            let port = line.strip_prefix(beginning).and_then(|port| port.parse::<u16>().ok());
            assert!(port.is_some_and(|port| port > 0), "{name}: {shown}");
        }
    }
    let snapshot = installation.snapshot("all");
    serve_echo(&installation, "all", 7000);
    assert_answers((LOCAL, chosen(&snapshot)).into());
    let listed = installation.run_ok(&["list", "--filter", "name=all", "--format", "{{.Ports}}"]);
    assert!(listed.starts_with(&format!("0.0.0.0:{}->7000/tcp, ", chosen(&snapshot))), "{listed}");

    // More than anybody may ask for one by one, and none beside another.
    let many: Vec<String> = (0..70).map(|index| format!("--expose={}", 2000 + 2 * index)).collect();
    let mut words = vec!["run", "-d", "--name", "many", "-P"];
    words.extend(many.iter().map(String::as_str));
    words.extend(["demo", "sleep", "600"]);
    installation.run_ok(&words);
    assert_eq!(installation.run_ok(&["port", "many"]).lines().count(), many.len());

    for expose in ["0", "80/sctp", "9-8", "8080:80"] {
        let _ = installation.container(&["create", "--expose", expose, "demo", "true"]).expect_code(64);
    }
    let words = ["create", "--network", "none", "-P", "--expose", "80", "demo", "true"];
    installation.run_ok(&words);
}

#[test]
fn trap13_a_conflict_fails_the_start_and_leaves_the_container_startable() {
    let installation = Installation::with_demo();
    let taken = TcpListener::bind((LOCAL, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let free = free_port();
    installation.run_ok(&[
        "create",
        "--name",
        "web",
        "-p",
        &format!("127.0.0.1:{free}:80"),
        "-p",
        &format!("127.0.0.1:{port}:81"),
        "demo",
        "sleep",
        "600",
    ]);
    let refused = installation.container(&["start", "web"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let expected = format!("host port 127.0.0.1:{port}/tcp is in use by another program of this host");
    assert!(refused.stderr.contains(&expected), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    assert_eq!(installation.state("web"), "stopped");
    let console = installation.container_directory("web").join("console.log");
    assert!(!console.exists(), "a machine was started");
    assert!(TcpStream::connect((LOCAL, free)).is_err(), "the other port stays bound");
    drop(taken);
    installation.run_ok(&["start", "web"]);
    assert_eq!(installation.state("web"), "running");

    // Two containers, and `run`, which leaves nothing.
    let second = installation.container(&[
        "run",
        "-d",
        "--name",
        "second",
        "-p",
        &format!("{free}:80"),
        "demo",
        "sleep",
        "600",
    ]);
    assert_ne!(second.code, 0);
    assert!(second.stderr.contains("is published by container 'web'"), "{second:?}");
    assert_eq!(installation.ids(), ["web"]);
}

#[test]
fn a_port_is_free_the_moment_its_container_has_stopped() {
    let installation = Installation::with_demo();
    let publish = format!("127.0.0.1:{}:80", free_port());
    for round in 0..5 {
        let name = format!("web{round}");
        installation.run_ok(&["run", "-d", "--rm", "--name", &name, "-p", &publish, "demo", "sleep", "600"]);
        installation.run_ok(&["kill", &name]);
    }
}

#[test]
fn published_ports_outlive_the_daemon() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "-p", "7000", "demo", "sleep", "600"]);
    serve_echo(&installation, "web", 7000);
    let port = chosen(&installation.snapshot("web"));
    assert_answers((LOCAL, port).into());
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert_answers((LOCAL, port).into());
    assert_eq!(chosen(&installation.snapshot("web")), port);
    installation.run_ok(&["restart", "-t", "0", "web"]);
    let snapshot = installation.snapshot("web");
    serve_echo(&installation, "web", 7000);
    assert_answers((LOCAL, chosen(&snapshot)).into());
}

#[test]
fn wrong_ports_are_usage_errors() {
    let installation = Installation::with_demo();
    for ports in ["65536:80", "80:80/sctp", "8000-8001:80", "host:80:80"] {
        let outcome = installation.container(&["run", "-p", ports, "demo", "true"]);
        assert_eq!(outcome.code, 64, "{outcome:?}");
    }
    let twice = installation.container(&["run", "-p", "8080:80", "-p", "127.0.0.1:8080:81", "demo", "true"]);
    assert_eq!(twice.code, 64, "{twice:?}");
    let foreign =
        installation.container(&["run", "-p", "192.0.2.77:8080:80", "demo", "true"]).expect_code(125);
    assert!(foreign.stderr.contains("192.0.2.77 is no address of this host"), "{foreign:?}");
    let none = installation.container(&["run", "--network", "none", "-p", "80", "demo", "true"]);
    assert_eq!(none.code, 125, "{none:?}");
    assert!(none.stderr.contains("the container joins no network"), "{none:?}");
}
