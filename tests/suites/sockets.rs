//! Unix sockets between host and container: `--publish-socket`, `--ssh`, and sockets as sources of `-v`.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use bulkhead_tests::{Installation, put_program, wait_until};

const AGENT: &str = "/var/host-services/ssh-auth.sock";

fn bytes(count: u32) -> Vec<u8> {
    (0..count).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect()
}

/// Says everything, half-closes, and returns the answer.
fn ask(path: &Path, question: &[u8]) -> Vec<u8> {
    let stream = UnixStream::connect(path).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let question = question.to_vec();
    let sender = thread::spawn(move || {
        // A server that closes early is seen by the answer.
        let _ = writer.write_all(&question).and_then(|()| writer.shutdown(Shutdown::Write));
    });
    let mut answer = Vec::new();
    let _ = { stream }.read_to_end(&mut answer);
    sender.join().unwrap();
    answer
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

struct Server {
    installation: Installation,
    host: PathBuf,
}

/// A container whose server is published.
fn server() -> Server {
    let installation = Installation::with_demo();
    let host = installation.folder().join("made/for/it.sock");
    let publish = format!("{}:/run/server.sock", host.display());
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "server",
        "--publish-socket",
        &publish,
        "demo",
        "sleep",
        "600",
    ]);
    put_program(&installation, "server", "peer");
    installation.run_ok(&["exec", "server", "mkdir", "-p", "/run"]);
    installation.run_ok(&["exec", "-d", "server", "peer", "serve", "/run/server.sock"]);
    wait_until("server", || ask(&host, b"up?") == b"up?");
    Server { installation, host }
}

#[test]
fn a_published_socket_carries_both_directions_and_half_closes() {
    let Server { installation, host } = server();
    assert_eq!(fs::metadata(&host).unwrap().permissions().mode() & 0o777, 0o600);
    let question = bytes(3_000_000);
    assert!(ask(&host, &question) == question);
    let clients: Vec<_> = (0..40)
        .map(|number: u32| {
            let host = host.clone();
            thread::spawn(move || ask(&host, &number.to_le_bytes()) == number.to_le_bytes())
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    // F79: more clients than there may be are sent away, and those that are there keep their place.
    let mut first = UnixStream::connect(&host).unwrap();
    let crowd: Vec<_> = (0..300).map(|_| UnixStream::connect(&host).unwrap()).collect();
    wait_until("refusals", || {
        crowd.iter().any(|mut client| {
            client.set_nonblocking(true).unwrap();
            matches!(client.read(&mut [0]), Ok(0))
        })
    });
    first.write_all(b"still here").unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "still here");
    drop(crowd);
    wait_until("places are free again", || ask(&host, b"again") == b"again");
    installation.run_ok(&["stop", "--time", "1", "server"]);
    assert!(!host.exists(), "removed at the end");
    assert!(!installation.container_directory("server").join("sockets.json").exists());
    // Nothing is in the way of a second start.
    installation.run_ok(&["start", "server"]);
    assert!(is_socket(&host));
    installation.run_ok(&["delete", "--force", "server"]);
    assert!(!host.exists());
}

#[test]
fn f6_sockets_of_a_lost_helper_are_removed() {
    let Server { installation, host } = server();
    let vmm = installation.snapshot("server")["status"]["machine"]["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{vmm}/status")).unwrap();
    let helper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    installation.kill(helper);
    wait_until("stopped", || installation.state("server") == "stopped");
    assert!(!host.exists());
    installation.run_ok(&["start", "server"]);
    assert!(is_socket(&host));
}

#[test]
fn nobody_listens_means_closed_and_taken_paths_are_refused() {
    let installation = Installation::with_demo();
    let host = installation.folder().join("a.sock");
    let publish = format!("{}:/run/nobody.sock:660", host.display());
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "idle",
        "--publish-socket",
        &publish,
        "demo",
        "sleep",
        "600",
    ]);
    assert_eq!(fs::metadata(&host).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(ask(&host, b"anybody?"), b"");
    // Neither a file nor a link of the container that is no socket gets anything.
    installation.run_ok(&[
        "exec",
        "idle",
        "sh",
        "-c",
        "mkdir -p /run; ln -s /proc/self/fd/0 /run/nobody.sock",
    ]);
    assert_eq!(ask(&host, b"anybody?"), b"");
    for publish in
        [format!("{}:/x", host.display()), format!("{}:/x", installation.folder().join("app").display())]
    {
        let refused =
            installation.container(&["create", "--publish-socket", &publish, "demo", "true"]).expect_code(1);
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(refused.stderr.contains(publish.split(':').next().unwrap()), "{refused:?}");
    }
    // A path that turns out to be impossible only when it is bound.
    let blocked = format!("{}/below:/x", installation.folder().join("file").display());
    fs::write(installation.folder().join("file"), b"").unwrap();
    let failed = installation
        .container(&["run", "--rm", "--publish-socket", &blocked, "demo", "true"])
        .expect_code(125);
    assert!(failed.stderr.contains("/file/below"), "{failed:?}");
    assert_eq!(installation.ids(), ["idle"]);
}

#[test]
fn the_ssh_agent_is_reached_from_the_container() {
    let installation = Installation::with_demo();
    let path = installation.folder().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let agent = thread::spawn(move || {
        for _ in 0..2 {
            let mut stream = listener.accept().unwrap().0;
            let mut question = Vec::new();
            stream.read_to_end(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        }
    });
    let mut run = installation.command(&["run", "-d", "--name", "keys", "--ssh", "demo", "sleep", "600"]);
    run.env("SSH_AUTH_SOCK", &path);
    assert_eq!(bulkhead_tests::run_with_deadline(&mut run, b"").code, 0);
    put_program(&installation, "keys", "peer");
    assert_eq!(installation.run_ok(&["exec", "keys", "sh", "-c", "echo $SSH_AUTH_SOCK"]), AGENT);
    let question = bytes(1_000_000);
    for user in ["root", "guest"] {
        let words = ["exec", "-i", "-u", user, "keys", "peer", "ask", AGENT];
        let outcome = installation.container_with_input(&words, &question).expect_code(0);
        assert!(outcome.stdout == question, "as {user}");
    }
    agent.join().unwrap();
    // The agent has gone: connections end, the container goes on.
    let outcome = installation.container_with_input(&["exec", "-i", "keys", "peer", "ask", AGENT], b"x");
    assert_eq!(outcome.stdout, b"", "{outcome:?}");
    assert_eq!(installation.run_ok(&["exec", "keys", "echo", "alive"]), "alive");
    let mut without = installation.command(&["run", "--rm", "--ssh", "demo", "true"]);
    let refused =
        bulkhead_tests::run_with_deadline(without.env_remove("SSH_AUTH_SOCK"), b"").expect_code(125);
    assert!(refused.stderr.contains("SSH_AUTH_SOCK"), "{refused:?}");
    let mut dead = installation.command(&["run", "--rm", "--ssh", "demo", "true"]);
    let refused =
        bulkhead_tests::run_with_deadline(dead.env("SSH_AUTH_SOCK", "/no/agent"), b"").expect_code(125);
    assert!(refused.stderr.contains("'/no/agent', which SSH_AUTH_SOCK names"), "{refused:?}");
    assert_eq!(installation.ids(), ["keys"]);
}

/// A server of the host that precedes each answer by its name. It ends with the last connection.
fn serve_as(name: &'static str, path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        for stream in accepting.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut question = Vec::new();
                stream.read_to_end(&mut question)?;
                stream.write_all(name.as_bytes()).and_then(|()| stream.write_all(&question))
            });
        }
    });
    listener
}

/// Nobody takes its connections any more.
fn close(listener: &UnixListener) {
    rustix::net::shutdown(listener, rustix::net::Shutdown::Both).unwrap();
}

fn ask_inside(installation: &Installation, container: &str, path: &str, question: &[u8]) -> Vec<u8> {
    installation.container_with_input(&["exec", "-i", container, "peer", "ask", path], question).stdout
}

#[test]
fn a_socket_of_the_host_is_a_source_of_mounts() {
    let installation = Installation::with_demo();
    let folder = installation.folder().join("host");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("x.sock");
    let first = serve_as("first ", &path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    let volume = format!("{}:/run/deep/x.sock", path.display());
    let mount = format!("type=bind,source={},target=/etc/y.sock,readonly", path.display());
    installation
        .run_ok(&["run", "-d", "--name", "box", "-v", &volume, "--mount", &mount, "demo", "sleep", "600"]);
    put_program(&installation, "box", "peer");
    let listed = installation.run_ok(&["exec", "box", "stat", "-c", "%F %a %u:%g", "/run/deep/x.sock"]);
    assert_eq!(listed, "socket 660 0:0");
    let question = bytes(3_000_000);
    let answer = ask_inside(&installation, "box", "/run/deep/x.sock", &question);
    assert!(answer.strip_prefix(b"first ").is_some_and(|answer| answer == question));
    assert_eq!(ask_inside(&installation, "box", "/etc/y.sock", b"?"), b"first ?");
    let crowd = "for n in $(seq 40); do (echo $n | peer ask /run/deep/x.sock) & done; wait";
    let answers = installation.run_ok(&["exec", "box", "sh", "-c", crowd]);
    let mut numbers: Vec<u32> =
        answers.lines().map(|line| line.strip_prefix("first ").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    // Others than root are refused by the bits of the host's socket.
    let words = ["exec", "-i", "-u", "guest", "box", "peer", "ask", "/run/deep/x.sock"];
    assert_ne!(installation.container_with_input(&words, b"?").code, 0);
    // A server that is away closes; another one of the same name is found.
    close(&first);
    fs::remove_file(&path).unwrap();
    assert_eq!(ask_inside(&installation, "box", "/etc/y.sock", b"?"), b"");
    let second = serve_as("second ", &path);
    assert_eq!(ask_inside(&installation, "box", "/etc/y.sock", b"?"), b"second ?");
    installation.run_ok(&["restart", "--time", "1", "box"]);
    assert_eq!(ask_inside(&installation, "box", "/run/deep/x.sock", b"?"), b"second ?");
    // A container does not start without it, and says so.
    installation.run_ok(&["stop", "--time", "1", "box"]);
    close(&second);
    fs::remove_file(&path).unwrap();
    let refused = installation.container(&["start", "box"]).expect_code(1);
    assert!(refused.stderr.contains(path.to_str().unwrap()), "{refused:?}");
    let _third = serve_as("third ", &path);
    installation.run_ok(&["start", "box"]);
    assert_eq!(ask_inside(&installation, "box", "/run/deep/x.sock", b"?"), b"third ?");
}

#[test]
fn f83_a_guest_reaches_no_socket_but_those_that_it_was_given() {
    let installation = Installation::with_demo();
    let folder = installation.folder().join("host");
    fs::create_dir(&folder).unwrap();
    let _given = serve_as("given ", &folder.join("given.sock"));
    let _other = serve_as("other ", &folder.join("other.sock"));
    let shared = format!("{}:/shared", folder.display());
    let socket = format!("{}/given.sock:/run/x.sock", folder.display());
    installation
        .run_ok(&["run", "-d", "--name", "box", "-v", &shared, "-v", &socket, "demo", "sleep", "600"]);
    put_program(&installation, "box", "peer");
    assert_eq!(ask_inside(&installation, "box", "/run/x.sock", b"?"), b"given ?");
    // A name in a folder of the host is one of the guest's own kernel.
    let words = ["exec", "-i", "box", "peer", "ask", "/shared/other.sock"];
    assert_ne!(installation.container_with_input(&words, b"?").code, 0);
    let swap = "mv /shared/given.sock /shared/away && mv /shared/other.sock /shared/given.sock";
    installation.run_ok(&["exec", "box", "sh", "-c", swap]);
    assert_eq!(ask(&folder.join("given.sock"), b"?"), b"other ?");
    assert_eq!(ask_inside(&installation, "box", "/run/x.sock", b"?"), b"given ?");

    // Nor does it send the next start anywhere.
    let outside = installation.folder().join("outside.sock");
    let _outside = serve_as("outside ", &outside);
    let link = format!("rm /shared/given.sock && ln -s {} /shared/given.sock", outside.display());
    installation.run_ok(&["exec", "box", "sh", "-c", &link]);
    installation.run_ok(&["stop", "-t", "0", "box"]);
    let refused = installation.container(&["start", "box"]).expect_code(1);
    assert!(
        refused.stderr.contains("symbolic link in a folder that the container may change"),
        "{refused:?}"
    );
}

#[test]
fn a_read_only_container_speaks_http_with_a_server_of_the_host() {
    let installation = Installation::with_demo();
    let path = installation.folder().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // Two answers on one connection, the second in chunks, then the client hangs up.
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut requests = String::new();
        while requests.matches("\r\n\r\n").count() < 2 {
            let mut buffer = [0; 1000];
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{requests}");
            requests.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").unwrap();
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{}]\n\r\n0\r\n\r\n";
        stream.write_all(chunks.as_bytes()).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
        requests
    });
    // The program comes by a folder, for nothing can be written inside.
    installation.run_ok(&["run", "-d", "--name", "maker", "demo", "sleep", "600"]);
    put_program(&installation, "maker", "peer");
    let program = format!("{}:/peer:ro", installation.folder().join("peer").display());
    let socket = format!("{}:/var/run/engine.sock", path.display());
    let requests = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n";
    let words = [
        "run",
        "--rm",
        "-i",
        "--read-only",
        "-v",
        &program,
        "-v",
        &socket,
        "demo",
        "/peer",
        "ask",
        "/var/run/engine.sock",
    ];
    let outcome = installation.container_with_input(&words, requests.as_bytes()).expect_code(0);
    assert!(outcome.text().ends_with("5\r\n[{}]\n\r\n0\r\n\r\n"), "{outcome:?}");
    assert_eq!(server.join().unwrap(), requests);
}
