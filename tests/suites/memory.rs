//! What programs see of page faults: what they would on the host.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::process::Command;

use bulkhead_tests::{Installation, put_program, run_with_deadline};

#[test]
fn faults_are_those_of_any_linux() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "--tmpfs", "/tmp", "demo", "sleep", "600"]);
    put_program(&installation, "box", "faults");
    let on_host =
        run_with_deadline(&mut Command::new(installation.folder().join("faults")), b"").expect_code(0);
    assert!(on_host.text().contains("not executable: code 2, address true, write false"), "{on_host:?}");
    let in_guest = installation.container(&["exec", "box", "faults"]).expect_code(0);
    assert_eq!(in_guest.text(), on_host.text());
}

/// Pages that are there, each time there are more, as somebody goes through them in order.
const IN_STRETCHES: &str = "[4, 8, 16, 32, 64, 128, 192, 256]\n";

#[test]
fn fresh_memory_comes_in_stretches_also_where_files_take_the_rest() {
    let installation = Installation::with_demo();
    for (name, memory) in [("ample", "1g"), ("scarce", "256m")] {
        installation.run_ok(&["run", "-d", "--name", name, "--memory", memory, "demo", "sleep", "600"]);
        put_program(&installation, name, "populated");
        let populated = || installation.container(&["exec", name, "populated"]).expect_code(0).text();
        assert_eq!(populated(), IN_STRETCHES, "{name}, with memory that nothing was in yet");
        installation.run_ok(&["exec", name, "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=500"]);
        assert_eq!(populated(), IN_STRETCHES, "{name}, with memory that files were in");
    }
}

/// Seconds until ext4 has read, in the background, what it wants to know of a disk (`EXT4_DEF_LI_MAX_START_DELAY`).
const READ_AHEAD_S: u64 = 6;
/// The goal of SPECIFICATION.md, for the memory file alone.
const IDLE_KIB: u64 = 14 * 1024;

#[test]
fn an_idle_machine_keeps_little_whatever_its_disk_could_hold() {
    let installation = Installation::with_demo();
    let script = "echo content > /file; sync; sleep 600";
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sh", "-c", script]);
    std::thread::sleep(std::time::Duration::from_secs(READ_AHEAD_S));
    let pid = installation.run_ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssShmem:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((1..IDLE_KIB).contains(&kib), "{kib} KiB");
}
