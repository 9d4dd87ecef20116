//! `export` and `diff`.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, run_with_deadline};

#[test]
fn an_export_is_what_find_sees_and_thaws_the_container() {
    let installation = Installation::with_demo();
    let writer = "mkdir /data; i=0; while :; do i=$((i+1)); echo $i >/data/a; echo $i >/data/b; done";
    installation.run_ok(&["run", "-d", "--name", "busy", "demo", "sh", "-c", writer]);
    let archive = installation.folder().join("out.tar");
    let path = archive.to_str().unwrap();
    bulkhead_tests::wait_until("the writer", || {
        installation.container(&["exec", "busy", "test", "-s", "/data/b"]).code == 0
    });
    installation.run_ok(&["export", "-o", path, "busy"]);
    let tar = |words: &[&str]| {
        run_with_deadline(Command::new("tar").args(["-f", path]).args(words), b"").expect_code(0)
    };
    let counter = |name: &str| tar(&["-xO", name]).text().trim().parse().unwrap_or(0_u64);
    let (a, b) = (counter("data/a"), counter("data/b"));
    assert!(a == b || a == b + 1 || a == 0 || b == 0, "torn: {a} and {b}");
    let before = installation.run_ok(&["exec", "busy", "cat", "/data/a"]);
    bulkhead_tests::wait_until("the writer goes on", || {
        installation.run_ok(&["exec", "busy", "cat", "/data/a"]) != before
    });
    installation.run_ok(&["stop", "--time", "0", "busy"]);
    let first = installation.container(&["export", "busy"]).expect_code(0);
    let again = installation.container(&["export", "busy"]).expect_code(0);
    assert!(first.stdout == again.stdout, "the order is fixed");
    std::fs::write(&archive, &first.stdout).unwrap();
    let exported: BTreeSet<String> =
        tar(&["-t"]).text().lines().map(|line| line.trim_end_matches('/').to_owned()).collect();
    installation.run_ok(&["start", "busy"]);
    let find = "find / -xdev | cut -c 2- | grep -v '^$'";
    let found = installation.run_ok(&["exec", "busy", "sh", "-c", find]).lines().map(str::to_owned).collect();
    assert_eq!(exported, found);
}

#[test]
fn a_reader_that_leaves_ends_an_archive_quietly() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    for state in ["running", "stopped"] {
        if state == "stopped" {
            installation.run_ok(&["stop", "--time", "0", "box"]);
        }
        for words in [&["export", "box"][..], &["cp", "box:/", "-"], &["image", "save", "demo"]] {
            let mut command = installation.command(words);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut some = [0; 100];
            child.stdout.take().unwrap().read_exact(&mut some).unwrap();
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{words:?}, {state}");
        }
    }
}

#[test]
fn diff_tells_added_changed_and_deleted_apart() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "demo", "sleep", "600"]);
    assert_eq!(installation.run_ok(&["diff", "web"]), "");
    installation.run_ok(&[
        "exec",
        "web",
        "sh",
        "-c",
        "rm /bin/zcat; echo >>/etc/passwd; mkdir /new; echo >/new/f; touch /root/x; rm /root/x",
    ]);
    let expected = "C /bin\nD /bin/zcat\nC /etc\nC /etc/passwd\nA /new\nA /new/f";
    assert_eq!(installation.run_ok(&["diff", "web"]), expected);
    installation.run_ok(&["stop", "--time", "0", "web"]);
    assert_eq!(installation.run_ok(&["diff", "web"]), expected);
}

#[test]
fn a_start_that_is_refused_while_files_are_read_removes_what_removes_itself() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--rm", "--name", "gone", "demo", "true"]);
    // Nobody reads, so that this goes on.
    let mut export = installation.command(&["export", "gone"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut archive = export.stdout.take().unwrap();
    archive.read_exact(&mut [0; 512]).unwrap();
    let start = installation
        .command(&["start", "gone"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It waits, which nothing shows.
    std::thread::sleep(std::time::Duration::from_secs(1));
    installation.run_ok(&["stop", "gone"]);
    let refused = start.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("was stopped while it started"), "{told}");
    std::io::copy(&mut archive, &mut std::io::sink()).unwrap();
    assert!(export.wait().unwrap().success());
    bulkhead_tests::wait_until("the removal", || installation.ids().is_empty());
}
