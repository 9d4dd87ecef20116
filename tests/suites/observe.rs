//! `pause`, `unpause`, `top` and `stats`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{Installation, Terminal, wait_until};

#[test]
fn stats_end_with_the_services() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "demo", "sleep", "600"]);
    let mut stats = installation.command(&["stats"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(stats.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("Container ID"));
    installation.run_ok(&["system", "stop"]);
    assert_eq!(stats.wait().unwrap().code(), Some(0));
    assert_eq!(installation.pids("container-apiserver"), Vec::<i32>::new());
}

#[test]
fn a_paused_container_stands_still_and_can_be_ended() {
    let installation = Installation::with_demo();
    for id in ["one", "two", "three"] {
        let count = "trap 'exit 7' TERM; while :; do echo x >>/count; sleep 0.05; done";
        installation.run_ok(&["run", "-d", "--name", id, "demo", "sh", "-c", count]);
        installation.run_ok(&["exec", id, "sh", "-c", "until [ -s /count ]; do sleep 0.05; done"]);
        assert_eq!(installation.run_ok(&["pause", id]), id);
        assert_eq!(installation.snapshot(id)["status"]["paused"], true);
        assert_eq!(installation.state(id), "running");
    }
    let named = |status: &str| {
        let listed = installation.run_ok(&["list", "--quiet", "--filter", &format!("status={status}")]);
        listed.split_whitespace().any(|id| id == "one")
    };
    assert!(named("paused") && !named("running"));
    let table = installation.run_ok(&["list"]);
    assert!(
        table.lines().any(|line| line.starts_with("one ") && line.contains(" running (paused) ")),
        "{table}"
    );
    let size = || installation.container(&["cp", "one:/count", "-"]).expect_code(0).stdout;
    let before = size();
    std::thread::sleep(Duration::from_millis(300));
    assert!(size() == before, "a frozen process wrote");
    let refused = installation.container(&["exec", "one", "true"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("'one' is paused"), "{refused:?}");
    let _ = installation.container(&["pause", "one"]).expect_code(1);
    installation.run_ok(&["unpause", "one"]);
    installation.run_ok(&["exec", "one", "true"]);
    assert!(!named("paused") && named("running"));
    assert!(installation.snapshot("one")["status"].get("paused").is_none());
    installation.run_ok(&["stop", "two"]);
    assert_eq!(installation.wait_for_exit("two"), 7, "stopped as asked, not killed");
    installation.run_ok(&["delete", "--force", "three"]);
    let _ = installation.container(&["pause", "two"]).expect_code(1);
}

#[test]
fn processes_and_resources_are_shown() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "-u", "guest", "demo", "sleep", "600"]);
    // A new program's words are there an instant after its name (begin_new_exec of the kernel).
    wait_until("the command line", || installation.run_ok(&["top", "web"]).ends_with("sleep 600"));
    let top = installation.run_ok(&["top", "web"]);
    let lines: Vec<&str> = top.lines().collect();
    assert_eq!(lines.len(), 2, "{top}");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    assert!(lines[1].starts_with("1000") && lines[1].ends_with("sleep 600"), "{top}");
    let shown = |options: &[&str]| installation.run_ok(&[&["top", "web"], options].concat());
    let cells =
        |text: &str| text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    let chosen: Vec<Vec<String>> = cells(&shown(&["-o", "pid,user,stat,comm"]));
    assert_eq!(chosen[0], ["PID", "USER", "STAT", "COMMAND"]);
    assert_eq!(chosen[1][1..], ["1000", "S", "sleep"]);
    let by_user: Vec<Vec<String>> = cells(&shown(&["aux"]));
    assert_eq!(by_user[0][..6], ["USER", "PID", "%CPU", "%MEM", "VSZ", "RSS"]);
    assert!(by_user[1][5].parse::<u64>().unwrap() > 0, "{by_user:?}");
    let refused = installation.container(&["top", "web", "-o", "pid,bogus"]).expect_code(64);
    assert!(refused.stderr.contains("'bogus'"), "{refused:?}");
    let stats = installation.run_ok(&["stats", "--format", "json", "web"]);
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats[0]["id"], "web");
    assert_eq!(stats[0]["numProcesses"], 1);
    assert!(stats[0]["memoryUsageBytes"].as_u64().unwrap() > 0);
    let table = installation.run_ok(&["stats", "--no-stream"]);
    assert!(table.starts_with("Container ID  Cpu %  Memory Usage"), "{table}");
    assert!(table.lines().nth(1).unwrap().contains('%'), "{table}");
    let mut live = Terminal::spawn(installation.command(&["stats"]));
    live.expect("Container ID");
    live.type_in("\u{3}");
    // The second screen is left, and the cursor there again.
    live.expect("\u{1b}[?25h\u{1b}[?1049l");
    assert_eq!(live.wait(), 130);
    let _ = installation.container(&["stats", "--no-stream", "nobody"]).expect_code(1);
    let _ = installation.container(&["stats", "nobody"]).expect_code(1);
    // Into a pipe it goes on without control sequences, and ends with the last of the containers that were named.
    let mut streaming = installation.command(&["stats", "--format", "{{.Name}} {{.PIDs}}", "web"]);
    let mut streaming = streaming.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(streaming.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "web 1");
    }
    installation.run_ok(&["create", "--name", "idle", "demo", "true"]);
    let all = installation.run_ok(&["stats", "-a", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    assert_eq!(all, "idle --\nweb 1");
    installation.run_ok(&["delete", "-f", "web"]);
    assert!(streaming.wait().unwrap().success());
    let _ = installation.container(&["top", "nobody"]).expect_code(1);
}
