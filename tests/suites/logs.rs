//! Logs of containers, by time.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulkhead_tests::Installation;

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn lines_are_chosen_by_their_time() {
    let installation = Installation::with_demo();
    let script = "mkfifo /pipe; echo one; read line < /pipe; echo two; printf thr; sleep 0.2; echo four >&2; \
                  echo ee; sleep 600";
    installation.run_ok(&["run", "-d", "--name", "talker", "demo", "sh", "-c", script]);
    let logs =
        |words: &[&str]| installation.container(&[&["logs"], words, &["talker"]].concat()).expect_code(0);
    bulkhead_tests::wait_until("the first line", || logs(&[]).text() == "one\n");
    // More than the clocks of host and log could differ by rounding.
    std::thread::sleep(Duration::from_millis(50));
    let between = format!("{:.6}", unix_seconds());
    std::thread::sleep(Duration::from_millis(50));
    installation.run_ok(&["exec", "talker", "sh", "-c", "echo go > /pipe"]);
    bulkhead_tests::wait_until("the last line", || logs(&[]).text() == "one\ntwo\nthree\n");

    let later = logs(&["--since", &between]);
    assert_eq!((later.text().as_str(), later.stderr.as_str()), ("two\nthree\n", "four\n"));
    assert_eq!(logs(&["--until", &between]).text(), "one\n");
    assert_eq!(logs(&["--tail", "1", "--until", &between]).text(), "one\n");
    // The streams race; together they are one line.
    let last = logs(&["-n", "1", "--since", &between]);
    assert_eq!(last.text().lines().chain(last.stderr.lines()).count(), 1, "{last:?}");
    assert_eq!(logs(&["--since", "1h"]).text(), "one\ntwo\nthree\n");
    assert_eq!(logs(&["--until", "1h"]).stdout, b"");

    let dated = logs(&["-t"]).text();
    let lines: Vec<(&str, &str)> = dated.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(lines.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["one", "two", "three"]);
    for (date, _) in &lines {
        assert!(date.len() == 30 && date.ends_with('Z') && date.as_bytes()[10] == b'T', "{dated}");
    }

    // Following ends at the time that was asked for, though the container runs on.
    let end = format!("{:.6}", unix_seconds() + 2.0);
    assert_eq!(logs(&["-f", "--until", &end]).text(), "one\ntwo\nthree\n");
    assert_eq!(installation.state("talker"), "running");
    let _ = installation.container(&["logs", "--boot", "--since", "1h", "talker"]).expect_code(64);
    let _ = installation.container(&["logs", "--since", "yesterday", "talker"]).expect_code(64);
}

#[test]
fn bounds_of_logs_are_kept_and_none_keeps_nothing() {
    let installation = Installation::with_demo();
    let bounds = ["--log-driver", "local", "--log-opt", "max-size=4k", "--log-opt", "max-file=3"];
    let script = "seq 1 1000; sleep 600";
    let words = [&["run", "-d", "--name", "talker"], &bounds[..], &["demo", "sh", "-c", script]].concat();
    installation.run_ok(&words);
    let logs = |words: &[&str]| installation.run_ok(&[&["logs"], words, &["talker"]].concat());
    bulkhead_tests::wait_until("the last line", || logs(&["-n", "1"]) == "1000");
    let folder = installation.container_directory("talker");
    let mut lines = 0;
    for name in ["stdio.log", "stdio.log.1", "stdio.log.2"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!((1..=4096).contains(&text.len()), "{name}: {}", text.len());
        lines += text.lines().count();
    }
    assert!(!folder.join("stdio.log.3").exists());
    // What rotation left is shown, in order and to its beginning.
    let expected: Vec<String> = (1001 - lines..=1000).map(|number| number.to_string()).collect();
    assert_eq!(logs(&[]).lines().collect::<Vec<_>>(), expected);
    let config = "{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}";
    assert_eq!(
        installation.run_ok(&["inspect", "-f", config, "talker"]),
        "local {\"max-file\":\"3\",\"max-size\":\"4k\"}"
    );

    let silent = ["run", "--name", "silent", "--log-driver", "none", "demo", "echo", "hi"];
    assert_eq!(installation.run_ok(&silent), "hi");
    let refused = installation.container(&["logs", "silent"]).expect_code(1);
    assert!(refused.stderr.contains("its log driver is none"), "{refused:?}");
    assert!(!installation.container_directory("silent").join("stdio.log").exists());
    assert!(installation.run_ok(&["logs", "--boot", "silent"]).contains("Linux"));
    for wrong in [&["--log-driver", "syslog"][..], &["--log-opt", "tag=x"], &["--log-opt", "max-size=-1"]] {
        let words = [&["create"], wrong, &["demo", "true"]].concat();
        let _ = installation.container(&words).expect_code(64);
    }
}
