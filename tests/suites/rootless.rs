//! Everything for an ordinary user, on a host of its own.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use bulkhead_tests::{
    Installation, Outside, OwnHost, PATIENCE, exchange, put_program, require_program, run_with_deadline,
    serve_echo, wait_until,
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

#[test]
fn files_of_folders_and_volumes_belong_to_the_user() {
    let installation = installation();
    let user = installation.host().user();
    let folder = installation.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "mine\n").unwrap();
    for path in [folder.clone(), folder.join("mine")] {
        chown(path, Some(user), Some(user)).unwrap();
    }
    fs::write(folder.join("foreign"), "foreign\n").unwrap();
    fs::set_permissions(folder.join("foreign"), fs::Permissions::from_mode(0o600)).unwrap();
    let volume = format!("{}:/folder", folder.display());
    let script = "cat /folder/mine && stat -c %u /folder/mine && ! cat /folder/foreign && \
                  echo new > /folder/new && chown 33:33 /folder/new && stat -c %u:%g /folder/new && \
                  mkdir /folder/sub && mv /folder/new /folder/sub/ && echo 1 > /volume/x";
    let run = ["run", "--rm", "-v", &volume, "-v", "disk:/volume", "demo", "sh", "-c", script];
    let outcome = installation.container(&run).expect_code(0);
    // Whoever a file is given to: there is nobody but the user, who is root there.
    assert_eq!(outcome.text(), "mine\n0\n0:0\n");
    let made = fs::metadata(folder.join("sub/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (user, user));
    let again = ["run", "--rm", "-v", "disk:/volume", "demo", "cat", "/volume/x"];
    assert_eq!(installation.run_ok(&again), "1");

    let file = format!("{}:/file:ro", folder.join("mine").display());
    let outcome =
        installation.container(&["run", "--rm", "-v", &file, "demo", "sh", "-c", "cat /file; : > /file"]);
    assert_eq!((outcome.text().as_str(), outcome.code), ("mine\n", 1), "{outcome:?}");
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "all"]);
    let script = "echo shared > /all/x && chown 33 /all/x && cat /all/x && chmod 777 /all";
    assert_eq!(installation.run_ok(&["run", "--rm", "-v", "all:/all", "demo", "sh", "-c", script]), "shared");
    // Whoever writes in the container.
    installation.run_ok(&["run", "--rm", "-u", "33", "-v", "all:/all", "demo", "touch", "/all/of-33"]);
    // By a group that is not the program's first.
    installation.run_ok(&["run", "--rm", "-v", "all:/all", "demo", "chmod", "775", "/all"]);
    let member = ["run", "--rm", "-u", "33:33", "--group-add", "0", "-v", "all:/all", "demo", "sh", "-c"];
    let script = "cd /all && touch member && mkdir folder && ln -s member link && mkfifo pipe";
    installation.run_ok(&[&member[..], &[script]].concat());
    for name in ["x", "of-33", "member", "folder", "link", "pipe"] {
        let file =
            fs::symlink_metadata(installation.folder().join("app/volumes/all/content").join(name)).unwrap();
        assert_eq!((file.uid(), file.gid()), (user, user), "{name}");
    }
}

#[test]
fn programs_are_told_what_happens_to_a_folder() {
    let installation = installation();
    let user = installation.host().user();
    let folder = installation.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(user), Some(user)).unwrap();
    let volume = format!("{}:/shared", folder.display());
    installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
    put_program(&installation, "box", "watcher");
    let mut command = installation.command(&["exec", "box", "watcher", "/shared"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    installation.run_ok(&["exec", "box", "mkdir", "/shared/inside"]);
    fs::create_dir(folder.join("outside")).unwrap();
    let told: Vec<String> = lines.map_while(Result::ok).take_while(|line| line != "rest").collect();
    assert_eq!(told, ["inside", "outside"].map(|name| format!("/shared CREATE|DIRECTORY {name}")));
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn without_a_word_about_it_everything_is_in_the_users_own_folders() {
    let installation = installation();
    installation.run_ok(&["system", "stop"]);
    let (home, runtime) = (installation.folder().join("home"), installation.folder().join("xdg"));
    let user = installation.host().user();
    for path in [&home, &runtime] {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(path, Some(user), Some(user)).unwrap();
    }
    let container = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        for variable in ["APP", "LOG", "RUNTIME", "INSTALL"] {
            command.env_remove(format!("CONTAINER_{variable}_ROOT"));
        }
        for variable in ["CONFIG", "DATA", "STATE"] {
            command.env_remove(format!("XDG_{variable}_HOME"));
        }
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &runtime);
        run_with_deadline(&mut command, b"")
    };
    let archive = installation.demo_archive();
    let _ = container(&["image", "load", "-i", archive.to_str().unwrap()]).expect_code(0);
    let ran = container(&["run", "--rm", "demo", "hostname", "-i"]).expect_code(0);
    assert!(ran.text().starts_with("192.168."), "{ran:?}");
    assert!(home.join(".local/share/bulkhead/state.sqlite").exists());
    assert!(home.join(".local/state/bulkhead/network.log").exists());
    assert!(runtime.join("bulkhead/api.sock").exists());
    let _ = container(&["system", "stop"]).expect_code(0);
    assert!(!runtime.join("bulkhead/network.ns").exists());
}

/// What a socket says to a user who says something to it; an error is nothing.
fn said_by(path: &Path, user: u32) -> Vec<u8> {
    let path = path.to_owned();
    let said = std::thread::spawn(move || {
        let user = rustix::process::Uid::from_raw(user);
        // Of this thread alone, which ends here.
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        let Ok(mut stream) = UnixStream::connect(path) else { return Vec::new() };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Whoever hangs up has said what he has to say.
        let _ = stream.write_all(b"\x04\0\0\0nonsense\r\n\r\n");
        let mut said = vec![0; 64];
        let length = stream.read(&mut said).unwrap_or(0);
        said.truncate(length);
        said
    });
    said.join().unwrap()
}

#[test]
fn f87_f88_other_users_get_no_answer() {
    let installation = installation();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    let runtime = installation.folder().join("run");
    let mut sockets: Vec<_> =
        ["api.sock", "network.sock", "network.ns"].map(|name| runtime.join(name)).into();
    for folder in fs::read_dir(runtime.join("c")).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(folder.metadata().unwrap().mode() & 0o077, 0, "{}", folder.display());
        sockets.extend(Some(folder.join("control.sock")).filter(|path| path.exists()));
    }
    assert_eq!(sockets.len(), 4, "{sockets:?}");
    let owner = installation.host().user();
    let stranger = owner + 5000;
    for socket in &sockets {
        assert_eq!(socket.metadata().unwrap().mode() & 0o077, 0, "{}", socket.display());
        assert!(said_by(socket, stranger).is_empty());
    }
    // Should the modes fail one day, they are asked who they are.
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    [installation.folder(), &runtime, &runtime.join("c")].into_iter().for_each(open);
    for socket in &sockets {
        open(socket);
        open(socket.parent().unwrap());
        let said = said_by(socket, stranger);
        assert!(said.is_empty(), "{} says {}", socket.display(), String::from_utf8_lossy(&said));
    }
    // The same from the owner is heard.
    assert!(!said_by(&runtime.join("api.sock"), owner).is_empty());
    assert!(!said_by(&runtime.join("network.ns"), owner).is_empty());
    // The folders are found to be another's.
    open(&installation.folder().join("app"));
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(installation.state("box"), "running");
}

/// `system start` on the installation's host, by way of what these words do.
fn start_by(installation: &Installation, words: &[&str]) -> Command {
    let start = installation.command(&["system", "start"]);
    let mut command = Command::new(start.get_program());
    // On its host first: whoever is in a user namespace enters no others.
    let arguments: Vec<_> = start.get_args().collect();
    let (enter, user) = arguments.split_at(2);
    command.args(enter).args(words).args(user);
    for (name, value) in start.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn f91_a_host_without_user_namespaces_is_told_about() {
    let installation = installation();
    installation.run_ok(&["system", "stop"]);
    // A user namespace with all users, in which nobody can make another. The shell is executed once more, as the
    // root that it is by then.
    let script = "read go; exec sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"' sh \"$@\"";
    let mut command = start_by(&installation, &["unshare", "--user", "sh", "-c", script, "sh"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let folder = Path::new("/proc").join(child.id().to_string());
    wait_until("the user namespace", || fs::read_link(folder.join("ns/user")).unwrap() != own);
    for map in ["uid_map", "gid_map"] {
        fs::write(folder.join(map), "0 0 4294967295\n").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    let refused = installation.container(&["run", "--rm", "demo", "true"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("user.max_user_namespaces is 0"), "{refused:?}");
    let status = installation.run_ok(&["system", "status"]);
    assert!(status.contains("sysctl -w user.max_user_namespaces=15000"), "{status}");

    // Where no switch says why: user_namespaces(7) knows none within chroot(2).
    installation.run_ok(&["system", "stop"]);
    installation.host().run(|| rustix::mount::mount_bind_recursive("/", "/mnt").unwrap());
    let started = run_with_deadline(&mut start_by(&installation, &["/usr/sbin/chroot", "/mnt"]), b"");
    assert_eq!(started.code, 0, "{started:?}");
    let refused = installation.container(&["run", "--rm", "demo", "true"]);
    assert!(
        refused.stderr.contains("user namespaces cannot be made (Operation not permitted"),
        "{refused:?}"
    );
}
