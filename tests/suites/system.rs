//! The services themselves: what they log, and what takes how much of the disk.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{Installation, wait_until};
use serde_json::Value;

/// As `du` counts, without the folders themselves.
fn occupied_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { occupied_bytes(&entry.path()) } else { metadata.blocks() * 512 };
    }
    bytes
}

fn usage(installation: &Installation) -> Value {
    serde_json::from_str(&installation.run_ok(&["system", "df", "--format", "json"])).unwrap()
}

#[test]
fn disk_usage_is_what_the_disk_says() {
    let installation = Installation::with_demo();
    let before = usage(&installation);
    let images = occupied_bytes(&installation.folder().join("app/images"));
    assert_eq!(before["images"]["sizeInBytes"], images);
    assert_eq!(before["images"]["total"], 1);
    assert_eq!(before["images"]["active"], 0);
    assert_eq!(before["images"]["reclaimable"], images, "no container needs it");
    assert_eq!(before["containers"]["sizeInBytes"], 0);

    // A second name is no second image.
    installation.run_ok(&["image", "tag", "demo", "demo:again"]);
    installation.run_ok(&["run", "-d", "--name", "runs", "demo", "sleep", "600"]);
    let write = ["run", "--name", "full", "demo", "dd", "if=/dev/urandom", "of=/data", "bs=1M", "count=20"];
    let _ = installation.container(&write).expect_code(0);
    let during = usage(&installation);
    assert_eq!(during["images"]["total"], 1);
    assert_eq!(during["images"]["active"], 1);
    assert_eq!(during["images"]["reclaimable"], 0);
    assert_eq!(during["containers"]["total"], 2);
    assert_eq!(during["containers"]["active"], 1);
    let reclaimable = during["containers"]["reclaimable"].as_u64().unwrap();
    assert!((20 << 20..60 << 20).contains(&reclaimable), "sparse disks count what they hold: {reclaimable}");

    let table = installation.run_ok(&["system", "df"]);
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    assert_eq!(table.lines().count(), 4, "{table}");

    installation.run_ok(&["delete", "full"]);
    let after = usage(&installation);
    assert_eq!(after["containers"]["total"], 1);
    assert_eq!(after["containers"]["reclaimable"], 0);
}

#[test]
fn services_that_run_are_not_started_with_other_roots() {
    let installation = Installation::new();
    let (own, other) = (installation.folder().join("app"), installation.folder().join("other"));
    installation.run_ok(&["system", "start", "--app-root", own.to_str().unwrap()]);
    for flag in ["--app-root", "--log-root", "--install-root"] {
        let refused =
            installation.container(&["system", "start", flag, other.to_str().unwrap()]).expect_code(1);
        for words in ["Error: invalidState", flag, other.to_str().unwrap(), "container system stop"] {
            assert!(refused.stderr.contains(words), "{words}: {refused:?}");
        }
        assert!(!other.exists());
    }
    installation.run_ok(&["system", "start", "--app-root", &format!("{}/../app/", own.display())]);
    installation.run_ok(&["system", "start"]);
    installation.run_ok(&["system", "stop"]);
    installation.run_ok(&["system", "start", "--app-root", other.to_str().unwrap()]);
    assert!(other.is_dir());
    installation.run_ok(&["system", "stop"]);
}

#[test]
fn logs_of_the_services_are_read_with_and_without_them() {
    let installation = Installation::new();
    installation.run_ok(&["system", "start"]);
    let shown = installation.run_ok(&["system", "logs"]);
    assert!(shown.contains("serving"), "{shown}");
    let mut follower = installation
        .command(&["system", "logs", "--follow", "--last", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Followed over a stop and a start, as the file stays.
    std::thread::sleep(Duration::from_millis(500));
    installation.run_ok(&["system", "stop"]);
    installation.run_ok(&["system", "start"]);
    let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("serving")));
    assert!(found.is_some());
    installation.kill(follower.id().cast_signed());
    let _ = follower.wait().unwrap();

    installation.run_ok(&["system", "stop"]);
    wait_until("the services' end", || installation.pids("container-apiserver").is_empty());
    assert_eq!(installation.run_ok(&["system", "logs", "--last", "1h"]).matches("serving").count(), 2);
    assert!(installation.pids("container-apiserver").is_empty(), "reading logs starts nothing");
    let _ = installation.container(&["system", "logs", "--last", "5w"]).expect_code(64);
}

#[test]
fn programs_tell_the_commit_that_they_were_built_from() {
    let installation = Installation::new();
    installation.run_ok(&["system", "start"]);
    let versions = installation.run_ok(&["system", "version", "--format", "json"]);
    let versions: Value = serde_json::from_str(&versions).unwrap();
    let commits: Vec<&str> =
        versions.as_array().unwrap().iter().map(|one| one["commit"].as_str().unwrap()).collect();
    assert_eq!(commits.len(), 2, "{versions}");
    assert_eq!(commits[0], commits[1]);
    // An unpacked archive of the sources has none.
    if Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git").exists() {
        assert!(
            commits[0].len() >= 40 && commits[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{versions}"
        );
        let line = installation.run_ok(&["--version"]);
        assert!(line.contains(&format!("commit: {})", &commits[0][..7])), "{line}");
    }
}

#[test]
fn services_that_died_are_stopped_with_all_that_they_left() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    wait_until("the death", || installation.pids("container-apiserver").is_empty());
    assert!(!installation.pids("container-network").is_empty());
    let _ = installation.container(&["system", "stop"]).expect_code(0);
    for program in ["container-apiserver", "container-network", "container-runtime-linux"] {
        wait_until("the end", || installation.pids(program).is_empty());
    }
    // Where there is nothing to be stopped, nothing is started for that.
    assert_eq!(installation.container(&["system", "stop"]).expect_code(0).stderr, "");
    assert_eq!(installation.state("box"), "stopped");
}
