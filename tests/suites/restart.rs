//! restart, wait, and restart policies.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bulkhead_tests::{Installation, wait_until};

fn restarts(installation: &Installation, id: &str) -> u64 {
    installation.snapshot(id)["status"]["restartCount"].as_u64().unwrap()
}

fn end_apiserver(installation: &Installation) {
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
        wait_until("the apiserver is gone", || !installation.pids("container-apiserver").contains(&pid));
    }
}

#[test]
fn f57_a_hundred_waiters_get_the_exit_code() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "late", "demo", "sh", "-c", "sleep 4; exit 42"]);
    installation.run_ok(&["run", "-d", "--name", "early", "demo", "sh", "-c", "exit 7"]);
    installation.run_ok(&["create", "--name", "never", "demo", "true"]);
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let mut command = installation.command(&["wait", "late", "early", "never"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for waiter in waiters {
        let output = waiter.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n7\n0\n", "{output:?}");
    }
    end_apiserver(&installation);
    assert_eq!(installation.run_ok(&["wait", "late"]), "42", "after a restart of the service, too");
    let outcome = installation.container(&["wait", "late", "nobody", "early"]).expect_code(1);
    assert_eq!(outcome.text(), "42\n7\n");
    assert!(outcome.stderr.contains("nobody"));
}

#[test]
fn f57_a_wait_outlives_the_service() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "late", "demo", "sh", "-c", "sleep 3; exit 9"]);
    let waiter = installation.command(&["wait", "late"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    end_apiserver(&installation);
    assert_eq!(waiter.wait_with_output().unwrap().stdout, b"9\n");
}

#[test]
fn restart_stops_and_starts() {
    let installation = Installation::with_demo();
    let script = "echo begun >> /log; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    installation.run_ok(&["run", "-d", "--name", "web", "demo", "sh", "-c", script]);
    let first = installation.snapshot("web")["status"]["machine"]["pid"].clone();
    assert_eq!(installation.run_ok(&["restart", "-t", "10", "web"]), "web");
    assert_ne!(installation.snapshot("web")["status"]["machine"]["pid"], first);
    assert_eq!(installation.run_ok(&["exec", "web", "cat", "/log"]), "begun\nbegun");
    installation.run_ok(&["stop", "web"]);
    installation.run_ok(&["restart", "web"]);
    assert_eq!(installation.state("web"), "running", "a stopped one is started");
    installation.run_ok(&["run", "-d", "--rm", "--name", "brief", "demo", "sleep", "600"]);
    let refused = installation.container(&["restart", "brief"]).expect_code(1);
    assert!(refused.stderr.contains("removed when it stops"), "{refused:?}");
    assert_eq!(installation.state("brief"), "running");
}

#[test]
fn f70_a_container_that_dies_at_once_is_restarted_ever_more_slowly() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "loop",
        "--restart",
        "always",
        "demo",
        "sh",
        "-c",
        "exit 5",
    ]);
    let begin = Instant::now();
    wait_until("three restarts", || restarts(&installation, "loop") >= 3);
    // 100 + 200 + 400 ms of pauses at least.
    assert!(begin.elapsed() > Duration::from_millis(600), "{:?}", begin.elapsed());
    assert!(restarts(&installation, "loop") <= 8, "the pauses grow");
    wait_until("a pause", || installation.snapshot("loop")["status"]["restarting"] == true);
    assert_eq!(installation.state("loop"), "stopped");
    let refused = installation.container(&["delete", "loop"]).expect_code(1);
    assert!(refused.stderr.contains("loop"), "{refused:?}");
    installation.run_ok(&["stop", "loop"]);
    let stopped = restarts(&installation, "loop");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(restarts(&installation, "loop"), stopped, "a stop wins");
    assert_eq!(installation.snapshot("loop")["status"].get("restarting"), None);
    assert_eq!(installation.run_ok(&["wait", "loop"]), "5");
    installation.run_ok(&["delete", "loop"]);
}

#[test]
fn failures_are_retried_as_often_as_asked() {
    let installation = Installation::with_demo();
    let run = |name: &str, script: &str| {
        let words = ["run", "-d", "--name", name, "--restart", "on-failure:2", "demo", "sh", "-c", script];
        installation.run_ok(&words);
    };
    run("bad", "echo x; exit 6");
    run("good", "exit 0");
    assert_eq!(installation.run_ok(&["wait", "bad", "good"]), "6\n0");
    assert_eq!((restarts(&installation, "bad"), restarts(&installation, "good")), (2, 0));
    assert_eq!(installation.run_ok(&["logs", "bad"]), "x\nx\nx");
    let snapshot = installation.snapshot("bad");
    assert_eq!(snapshot["configuration"]["restartPolicy"], "on-failure:2");
}

#[test]
fn kill_ends_the_restarts() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "--restart", "always", "demo", "sleep", "600"]);
    installation.run_ok(&["kill", "web"]);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(installation.state("web"), "stopped");
}

#[test]
fn f14_policies_hold_over_a_stop_and_start_of_the_service() {
    let installation = Installation::with_demo();
    for (name, policy) in
        [("always", "always"), ("stopped", "unless-stopped"), ("running", "unless-stopped"), ("plain", "no")]
    {
        installation.run_ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--memory",
            "200m",
            "--restart",
            policy,
            "demo",
            "sleep",
            "600",
        ]);
    }
    installation.run_ok(&["create", "--name", "never", "--restart", "always", "demo", "sleep", "600"]);
    installation.run_ok(&["stop", "always", "stopped"]);
    installation.run_ok(&["system", "stop"]);
    installation.run_ok(&["system", "start"]);
    wait_until("policies are honoured", || installation.run_ok(&["list", "-q"]) == "always\nrunning");
    for name in ["stopped", "plain", "never"] {
        assert_eq!(installation.state(name), "stopped", "{name}");
    }
}

#[test]
fn f6_a_lost_helper_is_replaced_by_the_policy() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "--restart", "on-failure", "demo", "sleep", "600"]);
    let vmm = installation.snapshot("web")["status"]["machine"]["pid"].as_i64().unwrap();
    installation.kill(i32::try_from(vmm).unwrap());
    wait_until("a restart", || restarts(&installation, "web") == 1 && installation.state("web") == "running");
    assert_eq!(installation.run_ok(&["exec", "web", "echo", "back"]), "back");
}

#[test]
fn removal_and_restart_exclude_each_other() {
    let installation = Installation::new();
    let refused = installation.container(&["run", "--rm", "--restart", "always", "demo"]).expect_code(64);
    assert!(refused.stderr.contains("--restart"), "{refused:?}");
    let _ = installation.container(&["run", "--restart", "sometimes", "demo"]).expect_code(64);
    let refused = installation.container(&["run", "--pull", "never", "demo"]).expect_code(125);
    assert!(refused.stderr.contains("not here"), "{refused:?}");
    assert!(installation.ids().is_empty());
}

#[test]
fn the_stop_timeout_is_the_containers() {
    let installation = Installation::with_demo();
    // Its answer to the signal takes longer than the five seconds that are waited unless told otherwise.
    let slow = "trap 'sleep 8; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    for (name, timeout, exit_code) in [("hurried", "0", 137), ("patient", "300", 3)] {
        installation.run_ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--stop-timeout",
            timeout,
            "demo",
            "sh",
            "-c",
            slow,
        ]);
        wait_until("the trap", || installation.run_ok(&["logs", name]) == "ready");
        installation.run_ok(&["stop", name]);
        assert_eq!(installation.wait_for_exit(name), exit_code, "{name}");
    }
}
