//! create, start, stop, kill, delete, list, exec, logs.

use std::time::{Duration, Instant};

use bulkhead_tests::{Installation, wait_until};

#[test]
fn a_container_goes_through_its_life() {
    let installation = Installation::with_demo();
    assert_eq!(
        installation.run_ok(&["create", "--name", "one", "demo", "sh", "-c", "echo $((++n)); sleep 60"]),
        "one"
    );
    assert_eq!(installation.state("one"), "stopped");
    assert_eq!(installation.run_ok(&["start", "one"]), "one");
    assert_eq!(installation.run_ok(&["start", "one"]), "one", "starting a running one is no error");
    assert_eq!(installation.run_ok(&["list", "--quiet"]), "one");
    assert_eq!(installation.run_ok(&["stop", "--time", "1", "one"]), "one");
    assert_eq!(installation.run_ok(&["stop", "one"]), "one", "stopping a stopped one is no error");
    assert_eq!(installation.run_ok(&["list", "--quiet"]), "");
    assert_eq!(installation.run_ok(&["delete", "one"]), "one");
    assert!(installation.ids().is_empty());
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn several_are_started_in_the_order_of_the_command_line() {
    let installation = Installation::with_demo();
    for id in ["one", "two", "three"] {
        installation.run_ok(&["create", "--name", id, "demo", "sleep", "600"]);
    }
    // Whatever becomes of one of them, and each once.
    let started =
        installation.container(&["start", "two", "nobody", "one", "two", "no-one", "three"]).expect_code(1);
    assert_eq!(started.text(), "two\none\nthree\n");
    let told: Vec<&str> = started.stderr.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert_eq!(told.len(), 2, "{started:?}");
    assert!(told[0].contains("'nobody'") && told[1].contains("'no-one'"), "{started:?}");
    assert_eq!(installation.run_ok(&["list", "--quiet"]).lines().count(), 3);
    let words = ["events", "--since", "1h", "--until", "0s", "--format", "json", "--filter", "event=start"];
    let events = installation.run_ok(&words);
    let order: Vec<String> = events
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(order, ["two", "one", "three"], "one after the other");
    assert_eq!(
        installation.run_ok(&["start", "one", "three"]),
        "one\nthree",
        "starting running ones is no error"
    );

    installation.run_ok(&["stop", "-t", "0", "one", "two", "three"]);
    for flag in ["--attach", "--interactive", "-ai"] {
        let refused = installation.container(&["start", flag, "one", "two"]).expect_code(1);
        assert!(refused.stderr.contains("cannot be started and attached at once"), "{refused:?}");
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(installation.run_ok(&["list", "--quiet"]), "");
    let _ = installation.container(&["start"]).expect_code(64);
}

#[test]
fn files_survive_a_restart_of_the_container() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "create",
        "--name",
        "kept",
        "demo",
        "sh",
        "-c",
        "cat /count 2>/dev/null; echo x >> /count",
    ]);
    for _ in 0..3 {
        installation.run_ok(&["start", "kept"]);
        assert_eq!(installation.wait_for_exit("kept"), 0);
    }
    assert_eq!(installation.run_ok(&["logs", "-n", "2", "kept"]), "x\nx");
}

#[test]
fn what_was_not_synced_survives_a_stop_and_a_kill() {
    let installation = Installation::with_demo();
    let write = "[ -e /data ] || yes | head -c 150000000 > /data; echo written; sleep 600";
    for verb in [&["stop", "--time", "0"][..], &["kill"]] {
        let name = verb[0];
        installation.run_ok(&["run", "-d", "--name", name, "demo", "sh", "-c", write]);
        wait_until("the file", || installation.run_ok(&["logs", name]) == "written");
        installation.run_ok(&[verb, &[name]].concat());
        installation.run_ok(&["start", name]);
        let lines = installation.run_ok(&["exec", name, "sh", "-c", "grep -cx y /data"]);
        assert_eq!(lines, "75000000", "after {name}");
        installation.run_ok(&["delete", "--force", name]);
    }
}

#[test]
fn stop_sends_the_signal_and_kill_ends_it() {
    let installation = Installation::with_demo();
    let trap = "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    installation.run_ok(&["run", "-d", "--name", "polite", "demo", "sh", "-c", trap]);
    // A first process that has not set its trap yet ignores the signal (pid_namespaces(7)).
    wait_until("the trap", || installation.run_ok(&["logs", "polite"]) == "ready");
    installation.run_ok(&["stop", "polite"]);
    assert_eq!(installation.wait_for_exit("polite"), 7);
    assert!(installation.run_ok(&["logs", "polite"]).contains("got it"));

    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "deaf",
        "demo",
        "sh",
        "-c",
        "trap '' TERM; while :; do sleep 1; done",
    ]);
    installation.run_ok(&["stop", "--time", "1", "deaf"]);
    assert_eq!(installation.wait_for_exit("deaf"), 137);

    installation.run_ok(&["run", "-d", "--name", "killed", "demo", "sleep", "60"]);
    assert_eq!(installation.run_ok(&["kill", "killed"]), "killed");
    assert_eq!(installation.state("killed"), "stopped", "kill waits for the exit");
    assert_eq!(installation.wait_for_exit("killed"), 137);
}

#[test]
fn delete_refuses_a_running_one_unless_forced() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "busy", "--stop-timeout", "300", "demo", "sleep", "600"]);
    let refused = installation.container(&["delete", "busy"]).expect_code(1);
    assert!(refused.stderr.contains("busy"), "{refused:?}");
    let begin = Instant::now();
    installation.run_ok(&["delete", "--force", "busy"]);
    assert!(begin.elapsed() < Duration::from_secs(100), "a forced delete waits for nothing");
    assert!(installation.ids().is_empty());
    wait_until("the VM's processes end", || installation.pids("container-runtime-linux").len() <= 2);
}

#[test]
fn exec_runs_beside_the_first_process() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "host", "-e", "A=1", "demo", "sleep", "600"]);
    assert_eq!(installation.run_ok(&["exec", "host", "sh", "-c", "echo $A; cat /proc/1/comm"]), "1\nsleep");
    assert_eq!(
        installation.run_ok(&[
            "exec",
            "-u",
            "guest",
            "-w",
            "/tmp",
            "-e",
            "B=2",
            "host",
            "sh",
            "-c",
            "echo $(id -u) $(pwd) $B"
        ]),
        "1000 /tmp 2"
    );
    let _ = installation.container(&["exec", "host", "sh", "-c", "exit 9"]).expect_code(9);
    let _ = installation.container(&["exec", "host", "no-such-command"]).expect_code(127);
    let echoed = installation.container_with_input(&["exec", "-i", "host", "cat"], b"through");
    assert_eq!(echoed.text(), "through");
    let _ = installation.container(&["exec", "nobody-here", "true"]).expect_code(125);
}

#[test]
fn logs_keep_streams_apart_and_follow() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "talker",
        "demo",
        "sh",
        "-c",
        "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.3; done",
    ]);
    let followed = installation.container(&["logs", "-f", "talker"]).expect_code(0);
    assert_eq!(followed.text(), "out 1\nout 2\nout 3\n");
    assert_eq!(followed.stderr, "err 1\nerr 2\nerr 3\n");
    assert!(installation.run_ok(&["logs", "--boot", "talker"]).contains("Linux version"));
}

#[test]
fn f50_of_fifty_creates_of_one_name_one_wins() {
    let installation = Installation::with_demo();
    let children: Vec<_> = (0..50)
        .map(|_| {
            installation
                .command(&["create", "--name", "prize", "demo", "true"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(outputs.iter().filter(|output| output.status.success()).count(), 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        assert!(String::from_utf8_lossy(&output.stderr).contains("prize"));
    }
    assert_eq!(installation.ids(), ["prize"]);
    // A container has a directory from its first start on.
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn bulk_verbs_act_on_every_id_and_report_the_failures() {
    let installation = Installation::with_demo();
    for id in ["aa", "bb"] {
        installation.run_ok(&["create", "--name", id, "demo", "true"]);
    }
    let outcome = installation.container(&["delete", "aa", "nobody", "bb"]).expect_code(1);
    let mut deleted: Vec<&str> = std::str::from_utf8(&outcome.stdout).unwrap().lines().collect();
    deleted.sort_unstable();
    assert_eq!(deleted, ["aa", "bb"]);
    assert!(outcome.stderr.contains("nobody"));
    let _ = installation.container(&["delete"]).expect_code(1);
    assert_eq!(installation.container(&["list", "--quiet"]).stdout, b"");
    assert_eq!(installation.run_ok(&["list", "--format", "json"]), "[]");
}

#[test]
fn what_is_done_to_several_is_done_though_nobody_reads_of_it() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "quick",
        "demo",
        "sh",
        "-c",
        "trap 'exit 0' TERM; sleep 600 & wait",
    ]);
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 1; done";
    installation.run_ok(&["run", "-d", "--name", "deaf", "demo", "sh", "-c", deaf]);
    wait_until("it hears no signal", || installation.run_ok(&["logs", "deaf"]) == "deaf");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status =
        installation.command(&["stop", "--time", "2", "quick", "deaf"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(installation.wait_for_exit("deaf"), 137);

    // And to one whose client has gone.
    installation.run_ok(&["start", "deaf"]);
    wait_until("it hears no signal", || installation.run_ok(&["logs", "deaf"]) == "deaf\ndeaf");
    let mut stopping = installation.command(&["stop", "--time", "3", "deaf"]).spawn().unwrap();
    wait_until("it is stopping", || installation.state("deaf") == "stopping");
    stopping.kill().unwrap();
    stopping.wait().unwrap();
    assert_eq!(installation.wait_for_exit("deaf"), 137);
}
