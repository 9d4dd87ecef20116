//! Egress policies of containers.

use std::io::Write;
use std::net::TcpListener;

use bulkhead_tests::{Installation, Outside, wait_until};
use serde_json::{Value, json};

/// Says hello on two ports.
fn outside() -> Outside {
    Outside::new(|address, ready| {
        for port in [7000, 7001] {
            let listener = TcpListener::bind((address, port)).unwrap();
            std::thread::spawn(move || {
                listener.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"hello\n")));
            });
        }
        ready.send(()).unwrap();
    })
}

#[test]
fn what_is_not_allowed_is_refused_and_told() {
    let installation = Installation::with_demo();
    let outside = outside();
    let address = outside.address();
    let rule = format!("allow={address}:7000");
    installation.run_ok(&["run", "-d", "--name", "box", "--egress", &rule, "demo", "sleep", "600"]);
    let visit = |name: &str, port: u16| {
        let script = format!("nc -w 5 {address} {port} < /dev/null");
        installation.container(&["exec", name, "sh", "-c", &script])
    };
    let check = || {
        assert_eq!(visit("box", 7000).text(), "hello\n");
        assert_ne!(visit("box", 7001).code, 0);
    };
    check();
    let asked = installation.container(&["exec", "box", "nslookup", "secret.example.org"]);
    assert!(asked.text().contains("REFUSED"), "{asked:?}");
    let snapshot = installation.snapshot("box");
    assert_eq!(snapshot["configuration"]["egress"], json!({ "allow": [format!("{address}:7000")] }));

    let denied = || -> Vec<Value> {
        let events = ["events", "--since", "1h", "--until", "0s", "--format", "json"];
        let lines = installation.run_ok(&[&events[..], &["--filter", "event=egress-denied"]].concat());
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let tells = |destination: &str| {
        denied().iter().any(|event| event["id"] == "box" && event["attributes"]["destination"] == destination)
    };
    wait_until("the events", || tells(&format!("{address}:7001")) && tells("secret.example.org"));

    // The policy outlives container-network, and holds for the next start.
    for pid in installation.pids("container-network") {
        installation.kill(pid);
    }
    wait_until("the network", || visit("box", 7000).text() == "hello\n");
    check();
    installation.run_ok(&["restart", "-t", "0", "box"]);
    check();
    // Others are not concerned, and whoever gets the address next is not, either.
    installation.run_ok(&["rm", "-f", "box"]);
    installation.run_ok(&["run", "-d", "--name", "free", "demo", "sleep", "600"]);
    assert_eq!(visit("free", 7001).text(), "hello\n");
}

#[test]
fn a_closed_container_serves_and_reaches_nobody() {
    let installation = Installation::with_demo();
    let script = "while true; do echo hello | nc -l -p 7000; done";
    installation.run_ok(&["run", "-d", "--name", "peer", "demo", "sh", "-c", script]);
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "closed",
        "--egress",
        "none",
        "-p",
        "127.0.0.1::7000",
        "demo",
        "sh",
        "-c",
        script,
    ]);
    let visit = |from: &str, to: &str| {
        let script = format!("nc -w 3 {to} 7000 < /dev/null");
        installation.container(&["exec", from, "sh", "-c", &script])
    };
    wait_until("the peer's question", || visit("peer", "closed").text() == "hello\n");
    let refused = visit("closed", "peer");
    assert_eq!((refused.text().as_ref(), refused.code == 0), ("", false), "{refused:?}");
    let port = installation.run_ok(&["port", "closed", "7000/tcp"]);
    let text = wait_for_text(port.trim());
    assert_eq!(text, "hello\n");
}

fn wait_for_text(address: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    wait_until("the published port", || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.read_to_string(&mut text).is_ok() && !text.is_empty()
    });
    text
}

#[test]
fn wrong_policies_are_usage_errors() {
    let installation = Installation::with_demo();
    for (flags, code, reason) in [
        (&["--egress", "deny"][..], 64, "expected none or allow=DESTINATION"),
        (&["--egress", "allow=a:0"], 64, "'a:0' is no destination"),
        (&["--egress", "none", "--egress", "allow=a"], 64, "cannot be combined"),
        (&["--egress", "none", "--network", "none"], 1, "needs a network"),
    ] {
        let refused =
            installation.container(&[&["create"], flags, &["demo", "true"]].concat()).expect_code(code);
        assert!(refused.stderr.contains(reason), "{refused:?}");
    }
}
