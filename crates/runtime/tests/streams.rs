//! stdio of real containers: exactness, back-pressure, clients that come, go and get stuck.
#![allow(dead_code, unreachable_pub, reason = "each suite uses a part of the fixture")]

mod fixture;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use bulkhead_runtime_control::{
    DescriptorPurpose, DetachCause, Event, LogLimits, Reply, Request, RuntimeSpecification,
};
use fixture::container::{Container, eventually, process, specification};
use fixture::pipes::Pipes;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

fn with_stdin(arguments: &[&str]) -> RuntimeSpecification {
    let mut specification = specification(arguments);
    specification.process.stdin = true;
    specification
}

fn detach(container: &mut Container) {
    detach_client(container, 0);
}

fn detach_client(container: &mut Container, client: u64) {
    assert_eq!(container.request(Request::Detach { number: 0, client: Some(client) }, &[]), Ok(Reply::Done));
}

fn attach(container: &mut Container, client: u64, descriptors: &[(DescriptorPurpose, BorrowedFd<'_>)]) {
    let request = Request::Attach { number: 0, client, detach_keys: vec![16, 17] };
    assert_eq!(container.request(request, descriptors), Ok(Reply::Done));
}

/// A terminal's two ends, in raw mode as a client would have set it.
fn terminal() -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    let mut attributes = tcgetattr(&slave).unwrap();
    attributes.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &attributes).unwrap();
    (master.into(), slave)
}

fn read_until(master: &mut File, text: &str) -> String {
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains(text) {
        let count = master.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    seen
}

#[test]
fn f55_all_byte_values_pass_both_ways() {
    let mut pipes = Pipes::new();
    let mut container = Container::start(&with_stdin(&["cat"]), &pipes.descriptors());
    pipes.passed();
    let sent: Vec<u8> =
        (0..20 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let output = pipes.collect_stdout();
    pipes.write(&sent);
    pipes.close_stdin();
    let received = output.join().unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    assert_eq!(container.run_to_end().exit_code, 0);
}

#[test]
fn f55_stdin_may_be_a_file_null_or_a_directory() {
    let folder = tempfile_path("stdin");
    fs::write(&folder, "from a file").unwrap();
    for (path, output) in [(folder.to_str().unwrap(), "from a file"), ("/dev/null", ""), ("/", "")] {
        let mut pipes = Pipes::new();
        let file = File::open(path).unwrap();
        let mut descriptors = pipes.descriptors();
        descriptors[0].1 = file.as_fd();
        let mut container = Container::start(&with_stdin(&["cat"]), &descriptors);
        pipes.passed();
        assert_eq!(container.run_to_end().exit_code, 0);
        assert_eq!(pipes.collect_stdout().join().unwrap(), output.as_bytes(), "{path}");
    }
    fs::remove_file(folder).unwrap();
}

fn tempfile_path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("bulkhead-{name}-{}", std::process::id()))
}

#[test]
fn f53_a_stuck_reader_holds_up_the_guest_until_it_is_let_go_of() {
    let mut pipes = Pipes::new();
    let mut container = Container::start(
        &specification(&["sh", "-c", "dd if=/dev/zero bs=64k count=160; echo all"]),
        &pipes.descriptors(),
    );
    container.expect_started();
    // Nobody reads the pipe: the guest cannot write much more than the buffers between.
    std::thread::sleep(Duration::from_millis(1500));
    let log_bytes = fs::metadata(container.durable.join("stdio.log")).unwrap().len();
    assert!(log_bytes < 4 << 20, "{log_bytes} bytes were logged");
    let begin = Instant::now();
    detach(&mut container);
    assert_eq!(container.expect_exit(0).exit_code, 0);
    assert!(begin.elapsed() < Duration::from_secs(60));
    container.expect_stopped();
    assert!(container.log().contains("all\n"));
    drop(pipes.stdout.take());
}

#[test]
fn f53_kill_does_not_wait_for_a_stuck_reader() {
    let pipes = Pipes::new();
    let mut container = Container::start(&specification(&["yes"]), &pipes.descriptors());
    container.expect_started();
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    assert_eq!(container.request(Request::Kill, &[]), Ok(Reply::Done));
    assert_eq!(container.expect_exit(0).exit_code, 137);
    container.expect_stopped();
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn f53_a_flood_stays_within_the_log_limits() {
    let mut specification = specification(&["sh", "-c", "yes | head -c 3000000"]);
    specification.log_limits = LogLimits { maximum_file_bytes: 1 << 20, ..LogLimits::default() };
    let mut container = Container::start(&specification, &[]);
    assert_eq!(container.run_to_end().exit_code, 0);
    for name in ["stdio.log", "stdio.log.1"] {
        let length = fs::metadata(container.durable.join(name)).unwrap().len();
        assert!((1..=1 << 20).contains(&length), "{name}: {length}");
    }
}

#[test]
fn a_reader_that_goes_away_is_told_to_whoever_writes() {
    let mut pipes = Pipes::new();
    let script = "echo first; sleep 0.3; seq 1 200000; echo $? >/status; while echo more; do :; done; \
                  read status </status; exit $((status - 100))";
    let mut container = Container::start(&specification(&["sh", "-c", script]), &pipes.descriptors());
    pipes.passed();
    pipes.expect("first\n");
    drop(pipes);
    // 128 + SIGPIPE for a child; PID 1 sees EPIPE, and does as it likes.
    assert_eq!(container.run_to_end().exit_code, 41);
}

#[test]
fn a_slow_reader_gets_everything_before_the_exit_is_reported() {
    let mut pipes = Pipes::new();
    let mut container = Container::start(&specification(&["seq", "1", "100000"]), &pipes.descriptors());
    pipes.passed();
    let mut stdout = pipes.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut total = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            std::thread::sleep(Duration::from_millis(10));
            match stdout.read(&mut buffer).unwrap() {
                0 => return (total, Instant::now()),
                count => total.extend_from_slice(&buffer[..count]),
            }
        }
    });
    container.expect_started();
    container.expect_exit(0);
    let exited = Instant::now();
    let (output, finished) = reader.join().unwrap();
    assert!(String::from_utf8(output).unwrap().ends_with("99999\n100000\n"));
    // All but what one pipe holds was taken before.
    assert!(finished < exited + Duration::from_secs(1));
    container.expect_stopped();
}

#[test]
fn f54_attach_and_detach_leave_nothing_behind() {
    let mut container = Container::start(&with_stdin(&["cat"]), &[]);
    container.expect_started();
    let helper = container.helper.id();
    let count = |what: &str| fs::read_dir(format!("/proc/{helper}/{what}")).unwrap().count();
    let mut before = None;
    for round in 0..1000 {
        let mut pipes = Pipes::new();
        attach(&mut container, round + 1, &pipes.descriptors());
        pipes.passed();
        pipes.write(b"ping\n");
        pipes.expect("ping\n");
        detach_client(&mut container, round + 1);
        if round == 3 {
            before = Some((count("fd"), count("task")));
        }
    }
    let before = before.unwrap();
    eventually("the helper closes what it was given", || {
        count("fd") <= before.0 && count("task") <= before.1
    });
    let mut pipes = Pipes::new();
    attach(&mut container, 1001, &pipes.descriptors());
    pipes.close_stdin();
    assert_eq!(container.expect_exit(0).exit_code, 0);
    container.expect_stopped();
}

#[test]
fn a_clients_descriptors_stay_blocking() {
    let mut pipes = Pipes::new();
    let descriptors = pipes.descriptors();
    let flags = |descriptor: &dyn AsFd| rustix::fs::fcntl_getfl(descriptor.as_fd()).unwrap();
    let before: Vec<_> = descriptors.iter().map(|(_, descriptor)| flags(descriptor)).collect();
    let mut container = Container::start(&with_stdin(&["cat"]), &descriptors);
    container.expect_started();
    std::thread::sleep(Duration::from_millis(100));
    let after: Vec<_> = descriptors.iter().map(|(_, descriptor)| flags(descriptor)).collect();
    assert_eq!(before, after);
    pipes.passed();
    pipes.close_stdin();
    container.expect_exit(0);
    container.expect_stopped();
}

#[test]
fn f56_a_terminal_types_shows_and_resizes() {
    let (mut master, slave) = terminal();
    let mut specification = with_stdin(&["sh"]);
    specification.process.terminal = true;
    specification.process.terminal_size = Some((33, 99));
    let mut container = Container::start(&specification, &[(DescriptorPurpose::Terminal, slave.as_fd())]);
    container.expect_started();
    master.write_all(b"stty size\n").unwrap();
    read_until(&mut master, "33 99");
    for columns in 0..1000 {
        let request = Request::Resize { number: 0, rows: 10, columns: columns + 1 };
        assert_eq!(container.request(request, &[]), Ok(Reply::Done));
    }
    master.write_all(b"stty size\n").unwrap();
    read_until(&mut master, "10 1000");
    master.write_all(b"exit 4\n").unwrap();
    assert_eq!(container.expect_exit(0).exit_code, 4);
    container.expect_stopped();
    assert!(container.log().contains("stdout"));
}

/// Lent as stdin it is as its user left it.
#[test]
fn f55_a_cooked_terminal_as_stdin_ends_by_ctrl_d_and_has_no_detach_keys() {
    let (mut master, slave) = terminal();
    let mut attributes = tcgetattr(&slave).unwrap();
    attributes.local_modes |= LocalModes::ICANON;
    attributes.special_codes[SpecialCodeIndex::VEOF] = 4;
    tcsetattr(&slave, OptionalActions::Now, &attributes).unwrap();
    let mut pipes = Pipes::new();
    let mut descriptors = pipes.descriptors();
    descriptors[0].1 = slave.as_fd();
    let mut specification = with_stdin(&["cat"]);
    specification.process.detach_keys = b"x".to_vec();
    let mut container = Container::start(&specification, &descriptors);
    pipes.passed();
    container.expect_started();
    master.write_all(b"axb\n").unwrap();
    pipes.expect("axb\n");
    master.write_all(&[4]).unwrap();
    assert_eq!(container.expect_exit(0).exit_code, 0);
    container.expect_stopped();
}

#[test]
fn f56_detach_keys_let_go_of_the_terminal_and_the_next_client_has_it() {
    let (mut master, slave) = terminal();
    let mut specification = with_stdin(&["sh"]);
    specification.process.terminal = true;
    specification.process.detach_keys = vec![16, 17];
    let mut container = Container::start(&specification, &[(DescriptorPurpose::Terminal, slave.as_fd())]);
    container.expect_started();
    let detached = |client, cause| Event::Detached { number: 0, client, cause };
    for client in 0..5 {
        // A broken sequence is typed as it is: the shell reads Ctrl-P as "the line before".
        master.write_all(b"echo a$((40 + 2))\n\x10").unwrap();
        read_until(&mut master, "a42");
        master.write_all(b"\x11").unwrap();
        assert_eq!(container.control.next_event(), detached(client, DetachCause::Keys));
        attach(&mut container, client + 1, &[(DescriptorPurpose::Terminal, slave.as_fd())]);
    }
    attach(&mut container, 6, &[(DescriptorPurpose::Terminal, slave.as_fd())]);
    assert_eq!(container.control.next_event(), detached(5, DetachCause::Replaced));
    // The one before is gone already: nothing happens to the one after.
    detach_client(&mut container, 5);
    master.write_all(b"exit 4\n").unwrap();
    assert_eq!(container.expect_exit(0).exit_code, 4);
    container.expect_stopped();
}

#[test]
fn f53_a_stuck_terminal_can_be_let_go_of() {
    let (_master, slave) = terminal();
    let mut specification = specification(&["sh", "-c", "seq 1 200000; exit 8"]);
    specification.process.terminal = true;
    let mut container = Container::start(&specification, &[(DescriptorPurpose::Terminal, slave.as_fd())]);
    container.expect_started();
    std::thread::sleep(Duration::from_millis(500));
    detach(&mut container);
    assert_eq!(container.expect_exit(0).exit_code, 8);
    container.expect_stopped();
}

#[test]
fn sockets_serve_as_stdio() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut descriptors =
        vec![(DescriptorPurpose::Stdin, theirs.as_fd()), (DescriptorPurpose::Stdout, theirs.as_fd())];
    let mut container = Container::start(&with_stdin(&["cat"]), &descriptors);
    descriptors.clear();
    drop(theirs);
    (&ours).write_all(b"hello").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut received = String::new();
    (&ours).read_to_string(&mut received).unwrap();
    assert_eq!(received, "hello");
    assert_eq!(container.run_to_end().exit_code, 0);
}

#[test]
fn a_process_whose_reader_is_stuck_does_not_hold_up_the_container() {
    let mut container = Container::start(&specification(&["sleep", "0.5"]), &[]);
    container.expect_started();
    let pipes = Pipes::new();
    let request = Request::StartProcess { number: 1, process: process(&["yes"]) };
    assert_eq!(container.request(request, &pipes.descriptors()), Ok(Reply::Done));
    assert_eq!(container.expect_exit(0).exit_code, 0);
    container.expect_exit(1);
    container.expect_stopped();
}
