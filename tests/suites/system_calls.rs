//! What programs see of their system calls, however the kernel hears of them.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::fs;
use std::process::Command;

use bulkhead_tests::{Installation, build_program, put_program, run_with_deadline, wait_until};

#[test]
fn they_are_those_of_any_linux() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    put_program(&installation, "box", "system_calls");
    let on_host =
        run_with_deadline(&mut Command::new(installation.folder().join("system_calls")), b"").expect_code(0);
    assert!(on_host.text().contains("who makes calls can be killed"), "{on_host:?}");
    let in_guest = installation.container(&["exec", "box", "system_calls"]).expect_code(0);
    assert_eq!(in_guest.text(), on_host.text());
}

#[test]
fn they_are_the_same_where_the_host_tells_of_none() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--kernel-arg",
        "notify=off",
        "demo",
        "sleep",
        "600",
    ]);
    put_program(&installation, "box", "system_calls");
    let in_guest = installation.container(&["exec", "box", "system_calls"]).expect_code(0);
    assert!(in_guest.text().contains("who makes calls can be killed"), "{in_guest:?}");
    assert_eq!(filters_while_calls_are_made(&installation), 0);
}

/// A filter around the services is asked about the calls of programs before the guest's kernel is.
#[test]
fn a_filter_around_the_services_is_not_for_programs() {
    let installation = Installation::new();
    let start = installation.command(&["image", "load", "-i", installation.demo_archive().to_str().unwrap()]);
    let mut filtered = Command::new(build_program(&installation, "under_filter"));
    filtered.arg(start.get_program()).args(start.get_args());
    filtered.envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let _ = run_with_deadline(&mut filtered, b"").expect_code(0);
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    put_program(&installation, "box", "system_calls");
    let in_guest = installation.container(&["exec", "box", "system_calls"]).expect_code(0);
    assert!(in_guest.text().contains("a tracer behind a filter finds"), "{in_guest:?}");
    assert_eq!(filters_while_calls_are_made(&installation), 0);
    let status = installation.run_ok(&["system", "status"]);
    assert!(status.contains("run under a seccomp filter"), "{status}");
}

/// In each process of a guest are system calls of its kernel, which map memory.
#[test]
fn those_of_the_kernel_are_not_for_others() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    put_program(&installation, "box", "system_calls");
    let tried: usize = installation.run_ok(&["exec", "box", "system_calls", "kernel"]).parse().unwrap();
    assert!(tried > 0, "none was found");
    let kernel = installation.run_ok(&["exec", "--privileged", "box", "dmesg"]);
    assert!(kernel.contains("Linux version") && !kernel.contains("BUG"), "{kernel}");
}

#[test]
fn the_host_tells_of_them_by_notifications() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    // With a filter around this suite they are all traced: see the test of that.
    let is_filtered = !fs::read_to_string("/proc/self/status").unwrap().contains("\nSeccomp:\t0\n");
    assert_eq!(filters_while_calls_are_made(&installation) == 0, is_filtered);
    // They are given back with their processes: there are no more than 512.
    let script = "i=0; while [ $i -lt 700 ]; do dd if=/dev/zero of=/dev/null bs=1 count=300 2>/dev/null; i=$((i+1)); done";
    installation.run_ok(&["exec", "box", "sh", "-c", script]);
    let filters = filters_while_calls_are_made(&installation);
    assert!(filters < 10, "{filters}");
}

/// How many seccomp filters the kernel of `box` has while a process there does nothing but make calls. PID 1 may have
/// one as well.
fn filters_while_calls_are_made(installation: &Installation) -> usize {
    let calls =
        ["exec", "-d", "box", "sh", "-c", "echo $$ > /tmp/caller; exec dd if=/dev/zero of=/dev/null bs=1"];
    installation.run_ok(&calls);
    let kernel = installation.snapshot("box")["status"]["machine"]["pid"].as_i64().unwrap();
    let filters = || {
        let files = fs::read_dir(format!("/proc/{kernel}/fd")).unwrap().flatten();
        files
            .filter(|file| {
                fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().contains("seccomp"))
            })
            .count()
    };
    let calls_made = |count: &str| installation.run_ok(&["exec", "box", "sh", "-c", count]);
    let written = "cut -d' ' -f14,15 /proc/$(cat /tmp/caller)/stat";
    let before = calls_made(written);
    wait_until("calls", || calls_made(written) != before);
    let count = filters();
    installation.run_ok(&["exec", "box", "sh", "-c", "kill -9 $(cat /tmp/caller)"]);
    count
}
