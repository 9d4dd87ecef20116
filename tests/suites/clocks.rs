//! The time that programs read without asking their kernel.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use bulkhead_tests::{Installation, put_program};

#[test]
fn the_time_is_read_and_not_asked_for() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    put_program(&installation, "box", "clocks");
    let advantage: u64 = installation.run_ok(&["exec", "box", "clocks"]).parse().unwrap();
    // A system call is a hundred times slower; twice would be another system call.
    assert!(advantage >= 5, "asking takes {advantage} times as long");
}

#[test]
fn a_time_that_is_set_or_of_a_namespace_is_what_is_read() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "--privileged", "demo", "sleep", "600"]);
    put_program(&installation, "box", "clocks");
    installation.run_ok(&["exec", "--privileged", "box", "clocks", "all"]);
    // Nor does the kernel find anything wrong with the pages from which it is read.
    let kernel = installation.run_ok(&["exec", "--privileged", "box", "dmesg"]);
    assert!(kernel.contains("Linux version") && !kernel.contains("BUG"), "{kernel}");
}
