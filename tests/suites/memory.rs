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
