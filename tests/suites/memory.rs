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
