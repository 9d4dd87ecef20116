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
