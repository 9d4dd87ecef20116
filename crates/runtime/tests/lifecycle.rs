//! A container's life in a real VM: exit codes, logs, further processes, ends of all kinds.
#![allow(dead_code, unreachable_pub, reason = "each suite uses a part of the fixture")]

mod fixture;

use std::fs;
use std::time::{Duration, Instant};

use bulkhead_runtime_control::{Event, ExitReason, FailureCode, Reply, Request, RuntimeState};
use fixture::container::{Container, eventually, process, spawn, specification};
use fixture::pipes::Pipes;

/// Starts and waits for the process to run.
fn running(arguments: &[&str]) -> Container {
    let mut container = Container::start(&specification(arguments), &[]);
    container.expect_started();
    container
}

/// Runs a shell that exits with `code` on SIGTERM and has said that it is ready for it.
fn trapping(code: u8) -> Container {
    let script = format!("trap 'exit {code}' TERM; echo ready; while :; do sleep 0.1; done");
    let mut pipes = Pipes::new();
    let mut container = Container::start(&specification(&["sh", "-c", &script]), &pipes.descriptors());
    pipes.passed();
    container.expect_started();
    pipes.expect("ready");
    assert_eq!(container.request(Request::Detach { number: 0, client: Some(0) }, &[]), Ok(Reply::Done));
    container
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn output_reaches_log_and_client_before_the_exit_is_reported() {
    let mut pipes = Pipes::new();
    let script = "echo one; echo two >&2; printf three";
    let mut container = Container::start(&specification(&["sh", "-c", script]), &pipes.descriptors());
    pipes.passed();
    let (stdout, stderr) = (pipes.collect_stdout(), pipes.collect_stderr());
    assert_eq!(container.run_to_end().exit_code, 0);
    assert_eq!(stdout.join().unwrap(), b"one\nthree");
    assert_eq!(stderr.join().unwrap(), b"two\n");
    let log = container.log();
    let mut lines: Vec<&str> = log.lines().map(|line| &line[31..]).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F two", "stdout F one", "stdout P three"]);
}

#[test]
fn f57_exit_codes() {
    for (script, exit_code, signal) in [
        ("exit 0", 0, None),
        ("exit 255", 255, None),
        ("exit 3", 3, None),
        ("kill -9 $$", 137, Some(9)),
        ("kill -15 $$; sleep 1", 143, Some(15)),
    ] {
        // Not the namespace's init, which its own signals do not kill.
        let script = format!("sh -c '{script}'; exit $?");
        let status = Container::start(&specification(&["sh", "-c", &script]), &[]).run_to_end();
        assert_eq!((status.exit_code, status.reason), (exit_code, ExitReason::ProcessExited), "{script}");
        let _ = signal;
    }
}

#[test]
fn f57_executables_that_do_not_start() {
    for (program, exit_code, code) in [
        ("/bin/missing", 127, FailureCode::ExecutableNotFound),
        ("/etc/plain", 126, FailureCode::ExecutableNotRunnable),
    ] {
        let mut container = Container::start(&specification(&[program]), &[]);
        let event = container.control.next_event();
        let Event::StartFailed(failure) = event else { panic!("{event:?}") };
        assert_eq!(failure.code, code);
        assert!(failure.message.contains(program), "{}", failure.message);
        let status = container.expect_stopped();
        assert_eq!((status.exit_code, status.reason), (exit_code, ExitReason::StartFailed));
    }
}

#[test]
fn a_missing_layer_fails_the_start() {
    let mut specification = specification(&["true"]);
    specification.layers[0].path = "/nonexistent/layer".into();
    let mut container = Container::start(&specification, &[]);
    let event = container.control.next_event();
    let Event::StartFailed(failure) = event else { panic!("{event:?}") };
    assert!(failure.message.contains("/nonexistent/layer"), "{}", failure.message);
    assert_eq!(container.expect_stopped().reason, ExitReason::StartFailed);
}

#[test]
fn written_files_survive_an_orderly_end() {
    let mut first = specification(&["sh", "-c", "echo kept > /root/file"]);
    first.discard_disk = false;
    let mut writer = Container::start(&first, &[]);
    assert_eq!(writer.run_to_end().exit_code, 0);
    let mut second = first.clone();
    second.process = process(&["cat", "/root/file"]);
    let mut reader = Container::start(&second, &[]);
    assert_eq!(reader.run_to_end().exit_code, 0);
    assert!(reader.log().ends_with("stdout F kept\n"), "{}", reader.log());
}

#[test]
fn further_processes_have_streams_and_exit_codes_of_their_own() {
    let mut container = running(&["sleep", "1000"]);
    for number in 1..4 {
        let mut pipes = Pipes::new();
        let script = format!("cat; exit {number}");
        let mut process = process(&["sh", "-c", &script]);
        process.stdin = true;
        let request = Request::StartProcess { number, process };
        assert_eq!(container.request(request, &pipes.descriptors()), Ok(Reply::Done));
        pipes.passed();
        pipes.write(b"through and back");
        pipes.close_stdin();
        assert_eq!(pipes.collect_stdout().join().unwrap(), b"through and back");
        assert_eq!(container.expect_exit(number).exit_code, i32::try_from(number).unwrap());
    }
    assert_eq!(container.log(), "");
    let request = Request::StartProcess { number: 9, process: process(&["missing"]) };
    assert_eq!(container.request(request, &[]).unwrap_err().code, FailureCode::ExecutableNotFound);
    // The number is free again.
    let request = Request::StartProcess { number: 9, process: process(&["true"]) };
    assert_eq!(container.request(request, &[]), Ok(Reply::Done));
    assert_eq!(container.expect_exit(9).exit_code, 0);
}

#[test]
fn f54_hundreds_of_processes_leave_nothing_behind() {
    let mut container = running(&["sleep", "1000"]);
    let helper = container.helper.id();
    let count = |what: &str| fs::read_dir(format!("/proc/{helper}/{what}")).unwrap().count();
    let mut samples = Vec::new();
    let mut before = None;
    for number in 1..=300 {
        let begin = Instant::now();
        let request = Request::StartProcess { number, process: process(&["true"]) };
        assert_eq!(container.request(request, &[]), Ok(Reply::Done));
        assert_eq!(container.expect_exit(number).exit_code, 0);
        samples.push(begin.elapsed());
        if number == 3 {
            before = Some((count("fd"), count("task")));
        }
    }
    samples.sort();
    println!("exec of true: median {:?}, worst {:?}", samples[samples.len() / 2], samples[samples.len() - 1]);
    let before = before.unwrap();
    eventually("threads end", || count("fd") <= before.0 && count("task") <= before.1);
}

#[test]
fn signals_statistics_and_refusals() {
    let mut container = trapping(42);
    let Ok(Reply::Statistics(statistics)) = container.request(Request::Statistics, &[]) else {
        panic!("no statistics")
    };
    assert!(statistics.process_count >= 1 && statistics.memory_usage_bytes > 0, "{statistics:?}");
    let refused = container.request(Request::Signal { number: 7, signal: 15 }, &[]).unwrap_err();
    assert_eq!(refused.code, FailureCode::ProcessNotFound);
    let refused = container.request(Request::Signal { number: 0, signal: 1000 }, &[]).unwrap_err();
    assert_eq!(refused.code, FailureCode::InvalidArgument);
    assert_eq!(container.request(Request::Signal { number: 0, signal: 15 }, &[]), Ok(Reply::Done));
    assert_eq!(container.expect_exit(0).exit_code, 42);
    container.expect_stopped();
}

#[test]
fn kill_ends_everything_at_once() {
    let mut container = running(&["sleep", "1000"]);
    let begin = Instant::now();
    assert_eq!(container.request(Request::Kill, &[]), Ok(Reply::Done));
    assert_eq!(container.expect_exit(0).exit_code, 137);
    assert_eq!(container.expect_stopped().reason, ExitReason::Killed);
    // Less than an orderly end may take.
    assert!(begin.elapsed() < Duration::from_secs(8));
}

#[test]
fn kill_during_the_boot() {
    let mut container = Container::start(&specification(&["sleep", "1000"]), &[]);
    assert_eq!(container.request(Request::Kill, &[]), Ok(Reply::Done));
    let events = [container.control.next_event()];
    assert!(matches!(events, [Event::StartFailed(_) | Event::Started { .. }]), "{events:?}");
    if matches!(events, [Event::Started { .. }]) {
        container.expect_exit(0);
    }
    assert_eq!(container.expect_stopped().reason, ExitReason::Killed);
}

#[test]
fn f6_a_killed_helper_takes_its_machine_along() {
    let mut container = Container::start(&specification(&["sleep", "1000"]), &[]);
    let (_, vmm_pid) = container.expect_started();
    assert!(is_alive(vmm_pid));
    container.helper.kill().unwrap();
    container.helper.wait().unwrap();
    eventually("the machine monitor ends", || !is_alive(vmm_pid));
}

#[test]
fn f7_a_killed_vmm_is_noticed_at_once() {
    let mut container = Container::start(&specification(&["sleep", "1000"]), &[]);
    let (_, vmm_pid) = container.expect_started();
    let begin = Instant::now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(vmm_pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let status = container.expect_exit(0);
    // Less than the interval of heartbeats.
    assert!(begin.elapsed() < Duration::from_secs(8));
    assert_eq!((status.exit_code, status.reason), (137, ExitReason::VmmLost));
    container.expect_stopped();
}

#[test]
fn f8_f69_a_guest_panic_is_explained() {
    let mut specification = specification(&["dd", "if=/dev/zero", "of=/dev/null", "bs=1G"]);
    specification.vmm.kernel_arguments = vec!["sysctl.vm.panic_on_oom=1".to_owned()];
    let mut container = Container::start(&specification, &[]);
    container.expect_started();
    let status = container.expect_exit(0);
    assert_eq!((status.exit_code, status.reason), (137, ExitReason::VmmLost), "{status:?}");
    assert!(status.message.as_deref().is_some_and(|text| text.contains("kernel panic")), "{status:?}");
    container.expect_stopped();
}

#[test]
fn f5_a_later_apiserver_takes_over() {
    let mut container = trapping(5);
    let mut second = container.connect();
    let Ok(Reply::Status(status)) = second.request(Request::Subscribe, &[]) else { panic!("no status") };
    assert_eq!(status.state, RuntimeState::Running);
    assert_eq!(status.helper_pid, container.helper.id());
    // The first one dies.
    let (dead, _) = std::os::unix::net::UnixStream::pair().unwrap();
    container.control = fixture::container::Control::over(dead);
    assert_eq!(second.request(Request::Signal { number: 0, signal: 15 }, &[]), Ok(Reply::Done));
    let event = second.next_event();
    assert!(
        matches!(&event, Event::ProcessExited { number: 0, status } if status.exit_code == 5),
        "{event:?}"
    );
    assert!(matches!(second.next_event(), Event::Stopped { .. }));
    container.helper.wait().unwrap();
    assert!(!container.runtime.join("control.sock").exists());
}

#[test]
fn f4_two_machines_never_share_a_disk() {
    let specification = specification(&["sleep", "1000"]);
    let mut first = Container::start(&specification, &[]);
    first.expect_started();
    let mut second = specification.clone();
    second.runtime_directory = specification.runtime_directory.join("other");
    second.durable_directory = specification.durable_directory.join("other");
    fs::create_dir_all(&second.runtime_directory).unwrap();
    fs::create_dir_all(&second.durable_directory).unwrap();
    let mut second = Container::start(&second, &[]);
    let event = second.control.next_event();
    let Event::StartFailed(failure) = event else { panic!("{event:?}") };
    assert!(failure.message.contains("in use by another machine"), "{}", failure.message);
    std::mem::forget(second);
}

#[test]
fn sigterm_ends_the_container_in_order() {
    let mut container = trapping(6);
    let pid = rustix::process::Pid::from_child(&container.helper);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(container.expect_exit(0).exit_code, 6);
    container.expect_stopped();
}

#[test]
fn a_spare_helper_ends_with_whoever_kept_it() {
    let helper = std::env::current_exe().unwrap();
    let helper = helper.parent().unwrap().parent().unwrap().join("container-runtime-linux");
    let (mut child, socket) = spawn(&helper, std::process::Stdio::inherit());
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_helper_is_small() {
    let mut container = running(&["sleep", "1000"]);
    let status = fs::read_to_string(format!("/proc/{}/status", container.helper.id())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // What is shared is the guest's memory, which it touches to serve it.
    assert!(kib("RssAnon") + kib("RssFile") <= 8 * 1024, "{status}");
    container.request(Request::Kill, &[]).unwrap();
}
