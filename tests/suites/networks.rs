//! Networks that users create.

use std::io::{ErrorKind, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bulkhead_tests::{Installation, Outside, OwnHost, wait_until};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;

fn inspect(installation: &Installation, name: &str) -> Value {
    let mut all: Value =
        serde_json::from_str(&installation.run_ok(&["network", "inspect", name])).expect("JSON");
    all[0].take()
}

fn address(installation: &Installation, id: &str, index: usize) -> String {
    let snapshot = installation.snapshot(id);
    let address = snapshot["status"]["networks"][index]["ipv4Address"].as_str().expect("address");
    address.split('/').next().expect("address").to_owned()
}

#[test]
fn networks_are_created_shown_and_deleted() {
    let installation = Installation::with_demo();
    let created = installation.run_ok(&[
        "network",
        "create",
        "foo",
        "--subnet",
        "192.168.100.0/24",
        "--label",
        "team=web",
        "--option",
        "mtu=1400",
    ]);
    assert_eq!(created, "foo");
    let network = inspect(&installation, "foo");
    assert_eq!(network["id"], "foo");
    let configuration = &network["configuration"];
    assert_eq!(configuration["name"], "foo");
    assert_eq!(configuration["mode"], "nat");
    assert_eq!(configuration["ipv4Subnet"], "192.168.100.0/24");
    assert_eq!(configuration["labels"]["team"], "web");
    assert_eq!(configuration["options"]["mtu"], "1400");
    assert_eq!(configuration["plugin"], "container-network-vmnet");
    assert_eq!(network["status"]["ipv4Gateway"], "192.168.100.1");
    installation.run_ok(&["network", "create", "closed", "--internal"]);
    assert_eq!(inspect(&installation, "closed")["configuration"]["mode"], "hostOnly");
    assert_eq!(installation.run_ok(&["network", "ls", "-q"]), "closed\ndefault\nfoo");

    let taken = installation.container(&["network", "create", "foo"]).expect_code(1);
    assert!(taken.stderr.contains("network 'foo' already exists"), "{taken:?}");
    let overlap =
        installation.container(&["network", "create", "bar", "--subnet", "192.168.0.0/16"]).expect_code(1);
    assert!(overlap.stderr.contains("overlaps"), "{overlap:?}");
    for (arguments, reason) in [
        (&["Foo"][..], "not a network name"),
        (&["none"], "stands for no network"),
        (&["bar", "--option", "bogus=1"], "'bogus' is not an option of a network: expected mtu"),
        (&["bar", "--subnet", "8.8.8.0/24"], "must be private"),
        (&["bar", "--plugin", "other"], "no network plugin 'other'"),
    ] {
        let command = [&["network", "create"][..], arguments].concat();
        let refused = installation.container(&command).expect_code(1);
        assert!(refused.stderr.contains(reason), "{refused:?}");
    }
    // Networks are remembered, with their subnets.
    for program in ["container-apiserver", "container-network"] {
        for pid in installation.pids(program) {
            installation.kill(pid);
        }
    }
    assert_eq!(inspect(&installation, "foo"), network);

    installation.run_ok(&["create", "--name", "web", "--network", "foo", "demo", "true"]);
    let used = installation.container(&["network", "rm", "foo"]).expect_code(1);
    assert!(used.stderr.contains("network 'foo' is used by container 'web'"), "{used:?}");
    assert_eq!(installation.run_ok(&["network", "prune"]), "closed");
    installation.run_ok(&["rm", "web"]);
    assert_eq!(installation.run_ok(&["network", "rm", "foo"]), "foo");
    let refused = installation.container(&["network", "rm", "default"]).expect_code(1);
    assert!(refused.stderr.contains("the default network cannot be deleted"), "{refused:?}");
    installation.container(&["network", "inspect", "foo"]).expect_code(1).stderr.lines().for_each(drop);
    let unknown = installation.container(&["create", "--network", "foo", "demo", "true"]);
    assert!(unknown.stderr.contains("network 'foo' not found"), "{unknown:?}");
    assert_eq!(installation.run_ok(&["network", "delete", "--all"]), "");
}

#[test]
fn containers_find_each_other_by_every_name_in_all_their_networks() {
    let installation = Installation::with_demo();
    installation.run_ok(&["network", "create", "foo", "--subnet", "192.168.100.0/24"]);
    installation.run_ok(&["network", "create", "closed", "--internal"]);
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "web.test",
        "--network",
        "foo",
        "--ip",
        "192.168.100.77",
        "--mac-address",
        "02:42:ac:11:00:05",
        "--network-alias",
        "front",
        "--rm",
        "demo",
        "sleep",
        "600",
    ]);
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "db",
        "--network",
        "closed,alias=store",
        "--hostname",
        "vault",
        "demo",
        "sleep",
        "600",
    ]);
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "both",
        "--network",
        "closed,mtu=1400",
        "--network",
        "foo,mac=02:42:ac:11:00:02",
        "demo",
        "sleep",
        "600",
    ]);
    assert_eq!(address(&installation, "web.test", 0), "192.168.100.77");
    let web = address(&installation, "web.test", 0);
    let db = address(&installation, "db", 0);
    let both = |script: &str| installation.container(&["exec", "both", "sh", "-c", script]);
    for name in ["web.test", "web", "front", "web.foo", "WEB.TEST.foo", "front.foo"] {
        assert!(both(&format!("nslookup {name}")).text().contains(&web), "{name}");
        assert_eq!(both(&format!("ping -c 1 -W 5 {name}")).code, 0, "{name}");
    }
    for name in ["db", "store", "vault", "db.closed"] {
        assert!(both(&format!("nslookup {name}")).text().contains(&db), "{name}");
        assert_eq!(both(&format!("ping -c 1 -W 5 {name}")).code, 0, "{name}");
    }
    let links = both("ip -o link").text();
    assert!(links.contains("mtu 1400") && links.contains("02:42:ac:11:00:02"), "{links}");
    let gateway =
        |name: &str| inspect(&installation, name)["status"]["ipv4Gateway"].as_str().unwrap().to_owned();
    assert!(both("nslookup host.container.internal").text().contains(&gateway("foo")));

    // Names of other networks do not exist, and their addresses are out of reach.
    let from_web = |script: &str| installation.container(&["exec", "web.test", "sh", "-c", script]);
    assert!(from_web("ip -o link").text().contains("02:42:ac:11:00:05"));
    assert_ne!(from_web("nslookup db").code, 0);
    assert_ne!(from_web("nslookup db.closed").code, 0);
    assert_ne!(from_web(&format!("ping -c 1 -W 1 {db}")).code, 0);
    assert_ne!(from_web(&format!("ping -c 1 -W 1 {}", gateway("closed"))).code, 0);
    let taken = installation.container(&["run", "--network", "foo", "--ip", &web, "demo", "true"]);
    assert!(taken.stderr.contains("belongs to container 'web.test'"), "{taken:?}");
    let foreign = installation.container(&["run", "--network", "foo", "--ip", "10.9.9.9", "demo", "true"]);
    assert!(foreign.stderr.contains("no address for a container on network 'foo'"), "{foreign:?}");
    // The longest MTU of the command line is longer than any packet.
    let script = "cat /sys/class/net/eth0/mtu";
    let longest = ["run", "--rm", "--network", "foo,mtu=65535", "demo", "sh", "-c", script];
    assert_eq!(installation.run_ok(&longest), "65521");
    // An address is free the moment its container has ended.
    installation.run_ok(&["kill", "web.test"]);
    installation.run_ok(&["run", "--rm", "--network", "foo", "--ip", &web, "demo", "true"]);
}

#[test]
fn a_stopped_container_joins_and_leaves_networks() {
    let installation = Installation::with_demo();
    for (name, subnet) in [("foo", "192.168.100.0/24"), ("bar", "192.168.101.0/24")] {
        installation.run_ok(&["network", "create", name, "--subnet", subnet]);
    }
    installation.run_ok(&["create", "--name", "web", "demo", "sleep", "600"]);
    let mac = "02:42:ac:11:00:02";
    let wishes = ["--alias", "cache", "--ip", "192.168.100.9", "--mac-address", mac];
    installation.run_ok(&[&["network", "connect"][..], &wishes, &["foo", "web"]].concat());
    installation.run_ok(&["network", "connect", "bar", "web"]);
    installation.run_ok(&["network", "disconnect", "default", "web"]);
    let refused = |arguments: &[&str], told: &str| {
        let refused = installation.container(&[&["network"], arguments].concat()).expect_code(1);
        assert!(refused.stderr.contains(told), "{refused:?}");
    };
    refused(&["connect", "foo", "web"], "container 'web' is on network 'foo' already");
    refused(&["connect", "nope", "web"], "network 'nope' not found");
    refused(&["connect", "foo", "nobody"], "container 'nobody' not found");
    refused(&["connect", "--ip6", "fd00::9", "default", "web"], "network 'default' has no IPv6");
    refused(&["disconnect", "default", "web"], "container 'web' is not on network 'default'");
    refused(&["disconnect", "nope", "web"], "network 'nope' not found");
    refused(&["delete", "bar"], "network 'bar' is used by container 'web'");
    installation.run_ok(&["network", "disconnect", "-f", "default", "web"]);
    // The record says so after a death, and after a clean end.
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    installation.run_ok(&["system", "stop"]);
    installation.run_ok(&["start", "web"]);
    assert_eq!(address(&installation, "web", 0), "192.168.100.9");
    assert_eq!(address(&installation, "web", 1), "192.168.101.2");
    let ask = "nslookup cache && nslookup web && nslookup 192.168.100.9";
    let answers = installation.run_ok(&["run", "--rm", "--network", "foo", "demo", "sh", "-c", ask]);
    assert!(answers.contains("9.100.168.192.in-addr.arpa\tname = web"), "{answers}");
    assert_eq!(installation.run_ok(&["exec", "web", "cat", "/sys/class/net/eth0/address"]), mac);
    for verb in ["connect", "disconnect"] {
        refused(
            &[verb, "foo", "web"],
            "container 'web' is running: its networks can be changed when it is stopped",
        );
    }
    installation.run_ok(&["stop", "-t", "0", "web"]);
    for network in ["foo", "bar"] {
        installation.run_ok(&["network", "disconnect", network, "web"]);
        installation.run_ok(&["network", "delete", network]);
    }
    installation.run_ok(&["start", "web"]);
    assert_eq!(installation.snapshot("web")["status"]["networks"], serde_json::json!([]));
}

#[test]
fn an_internal_network_has_no_way_outside_and_does_not_take_it_away() {
    let installation = Installation::with_demo();
    let outside = Outside::new(|address, ready| {
        let listener = TcpListener::bind((address, 7000)).unwrap();
        ready.send(()).unwrap();
        // As long as the test wants.
        for connection in listener.incoming().take(1) {
            drop(connection);
        }
    });
    installation.run_ok(&["network", "create", "closed", "--internal"]);
    let reach = format!("nc -w 2 {} 7000 < /dev/null", outside.address());
    let run = |networks: &[&str]| {
        let command = [&["run", "--rm"][..], networks, &["demo", "sh", "-c", &reach]].concat();
        installation.container(&command).code
    };
    assert_ne!(run(&["--network", "closed"]), 0);
    assert_eq!(run(&["--network", "closed", "--network", "default"]), 0);
}

#[test]
fn domains_lead_the_host_to_containers_until_they_are_deleted() {
    // A host of its own: routes of one are for all its installations.
    let host = std::thread::spawn(|| {
        // SAFETY: no descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("network namespace");
        let installation = Installation::with_demo();
        installation.run_ok(&["run", "-d", "--name", "web", "demo", "sleep", "600"]);
        let web: SocketAddr = format!("{}:80", address(&installation, "web", 0)).parse().unwrap();
        let reach = || TcpStream::connect_timeout(&web, Duration::from_secs(20)).unwrap_err().kind();
        assert_eq!(reach(), ErrorKind::NetworkUnreachable);
        assert_eq!(installation.run_ok(&["system", "dns", "list", "--format", "json"]), "[]");
        assert_eq!(installation.run_ok(&["system", "dns", "create", "Test"]), "test");
        // It is there, and nobody listens.
        assert_eq!(reach(), ErrorKind::ConnectionRefused);
        let from_web = |name: &str| installation.container(&["exec", "web", "nslookup", name]).text();
        assert!(from_web("web.test").contains(&web.ip().to_string()));
        let taken = installation.container(&["system", "dns", "create", "test"]).expect_code(1);
        assert!(taken.stderr.contains("domain 'test' already exists"), "{taken:?}");
        let bad = installation.container(&["system", "dns", "create", "a b"]).expect_code(1);
        assert!(bad.stderr.contains("'a b' is not a domain"), "{bad:?}");
        let _ =
            installation.container(&["system", "dns", "create", "x", "--localhost", "::1"]).expect_code(64);
        let opened = ["system", "dns", "create", "host.container.internal", "--localhost", "198.51.100.7"];
        assert_eq!(installation.run_ok(&opened), "host.container.internal");
        assert!(from_web("host.container.internal").contains("198.51.100.7"));
        // Both outlive the services.
        for program in ["container-apiserver", "container-network"] {
            for pid in installation.pids(program) {
                installation.kill(pid);
            }
        }
        let listed = installation.run_ok(&["system", "dns", "ls", "-q"]);
        assert_eq!(listed, "host.container.internal\ntest");
        installation.run_ok(&["run", "--rm", "demo", "true"]);
        assert_eq!(reach(), ErrorKind::ConnectionRefused);
        installation.run_ok(&["system", "dns", "rm", "host.container.internal"]);
        installation.run_ok(&["system", "dns", "delete", "test"]);
        assert_eq!(reach(), ErrorKind::NetworkUnreachable);
        let missing = installation.container(&["system", "dns", "rm", "test"]).expect_code(1);
        assert!(missing.stderr.contains("domain 'test' not found"), "{missing:?}");
    });
    if let Err(panic) = host.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_network_with_ipv6_gives_addresses_names_and_ways_between_its_containers() {
    let installation = Installation::with_demo();
    // Nobody else's tests have this one.
    let prefix = format!("fd00:b8:{:x}", std::process::id() & 0xffff);
    let subnet = format!("{prefix}::/64");
    installation.run_ok(&["network", "create", "six", "--subnet-v6", &subnet]);
    let network = inspect(&installation, "six");
    assert_eq!(network["configuration"]["ipv6Subnet"], subnet.as_str());
    assert_eq!(network["status"]["ipv6Subnet"], subnet.as_str());
    let run = ["run", "-d", "--network", "six", "--name"];
    let (own, wanted) = (format!("{prefix}::5/64"), format!("{prefix}::5"));
    installation.run_ok(&[&run[..], &["web", "--ip6", &wanted, "demo", "sleep", "600"]].concat());
    installation.run_ok(&[&run[..], &["db", "demo", "sleep", "600"]].concat());
    assert_eq!(installation.snapshot("web")["status"]["networks"][0]["ipv6Address"], own.as_str());
    let db = installation.snapshot("db")["status"]["networks"][0]["ipv6Address"].as_str().unwrap().to_owned();
    let db = db.split('/').next().unwrap();
    // It can be used at once: nobody is asked whether the address is taken.
    let addresses = installation.run_ok(&["exec", "web", "ip", "-6", "addr", "show", "eth0"]);
    let line = addresses.lines().find(|line| line.contains(&own)).expect("own address");
    assert!(!line.contains("tentative"), "{addresses}");
    for target in [db, &format!("{prefix}::1"), "db"] {
        let pinged = installation.container(&["exec", "web", "ping", "-6", "-c", "1", "-W", "5", target]);
        assert_eq!(pinged.code, 0, "{target}: {pinged:?}");
    }
    assert!(installation.run_ok(&["exec", "web", "nslookup", "db"]).contains(db));

    // Once more the same after everything that keeps it in mind has died.
    for program in ["container-apiserver", "container-network"] {
        for pid in installation.pids(program) {
            installation.kill(pid);
        }
    }
    assert_eq!(inspect(&installation, "six"), network);
    assert_eq!(installation.snapshot("web")["status"]["networks"][0]["ipv6Address"], own.as_str());
    assert_eq!(installation.container(&["exec", "db", "ping", "-6", "-c", "1", "-W", "5", &wanted]).code, 0);
    let taken = installation.container(&["run", "--network", "six", "--ip6", &wanted, "demo", "true"]);
    assert!(taken.stderr.contains("belongs to container 'web'"), "{taken:?}");
    let without = installation.container(&["run", "--ip6", &wanted, "demo", "true"]);
    assert!(without.stderr.contains("network 'default' has no IPv6"), "{without:?}");
    // One that an address without a wish would have goes with its IPv4 address.
    let derived = ["run", "--network", "six", "--ip6", db, "demo", "true"];
    let derived = installation.container(&derived).expect_code(125);
    assert!(derived.stderr.contains("ask for that, with --ip"), "{derived:?}");
    let public = ["network", "create", "bad", "--subnet-v6", "2600::/64"];
    let public = installation.container(&public).expect_code(1);
    assert!(public.stderr.contains("must be private"), "{public:?}");
}

#[test]
fn ipv6_leads_outside_on_a_host_that_forwards_it_and_else_there_is_one_line() {
    let installation = Installation::of_ordinary_user(OwnHost::of_root());
    let forward = |value: &'static str| {
        let switch = "/proc/sys/net/ipv6/conf/all/forwarding";
        installation.host().run(move || std::fs::write(switch, value).unwrap());
    };
    forward("0");
    let told = "this host does not forward IPv6: containers reach no other host by it. Mend it with: \
                sysctl -w net.ipv6.conf.all.forwarding=1; container system stop; container system start";
    let create = |flags: &[&str]| {
        let words = [&["network", "create", "--subnet-v6"][..], flags].concat();
        installation.container(&words).expect_code(0).stderr
    };
    assert!(!create(&["fd00:100::/64", "closed", "--internal"]).contains("IPv6"));
    assert!(!installation.run_ok(&["system", "status"]).contains("IPv6"));
    let warned = create(&["fd00:101::/64", "six"]);
    assert!(warned.contains(&format!("Warning: {told}\n")), "{warned}");
    assert!(installation.run_ok(&["system", "status"]).contains(told));

    // What it says is what mends it.
    forward("1");
    installation.run_ok(&["system", "stop"]);
    let started = installation.container(&["system", "start"]).expect_code(0);
    assert!(!started.stderr.contains("IPv6"), "{started:?}");
    let outside = installation.host().run(|| {
        Outside::with_ipv6(|_, ready| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7000)).unwrap();
            ready.send(()).unwrap();
            std::thread::spawn(move || {
                listener.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"hello\n")));
            });
        })
    });
    installation.run_ok(&["run", "-d", "--name", "box", "--network", "six", "demo", "sleep", "600"]);
    let ask = format!("timeout 5 nc -w 2 {} 7000 < /dev/null", outside.addresses6().1);
    wait_until("the way out", || {
        installation.container(&["exec", "box", "sh", "-c", &ask]).text() == "hello\n"
    });
}
