//! Deaths of processes, and what is left of them.

use std::time::{Duration, Instant};

use bulkhead_tests::{Installation, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Less than the interval of heartbeats, of which one would notice anything at last.
const AT_ONCE: Duration = Duration::from_secs(8);

#[test]
fn f5_containers_outlive_the_apiserver() {
    let installation = Installation::with_demo();
    for number in 1..=5 {
        let name = format!("c{number}");
        let script =
            format!("i=0; while [ $i -lt 30 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit {number}");
        installation.run_ok(&["run", "-d", "--name", &name, "demo", "sh", "-c", &script]);
    }
    let [apiserver] = installation.pids("container-apiserver")[..] else { panic!("one apiserver") };
    installation.kill(apiserver);
    let expected: Vec<String> = (0..30).map(|i| i.to_string()).collect();
    for number in 1..=5 {
        let name = format!("c{number}");
        assert_eq!(installation.wait_for_exit(&name), number);
        assert_eq!(installation.run_ok(&["logs", &name]).lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn f5_exits_while_the_apiserver_is_dead_are_exact() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "late", "demo", "sh", "-c", "sleep 1; exit 42"]);
    installation.run_ok(&["run", "-d", "--rm", "--name", "gone", "demo", "sh", "-c", "sleep 1"]);
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(installation.wait_for_exit("late"), 42);
    wait_until("--rm is honoured by the next apiserver", || installation.ids() == ["late"]);
    assert_eq!(installation.container_leftovers().len(), 1);
}

#[test]
fn f7_death_of_the_vmm_is_noticed() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "victim", "demo", "sleep", "600"]);
    let pid = installation.snapshot("victim")["status"]["machine"]["pid"].as_i64().unwrap();
    let begin = Instant::now();
    installation.kill(i32::try_from(pid).unwrap());
    wait_until("stopped", || installation.state("victim") == "stopped");
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    let snapshot = installation.snapshot("victim");
    assert_eq!(snapshot["status"]["exitCode"], 137);
    assert!(snapshot["status"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    // It can be started again: neither disk nor address is held.
    installation.run_ok(&["start", "victim"]);
    assert_eq!(installation.run_ok(&["exec", "victim", "echo", "back"]), "back");
}

#[test]
fn f6_death_of_the_helper_takes_the_vmm_along() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "victim", "demo", "sleep", "600"]);
    let vmm = installation.snapshot("victim")["status"]["machine"]["pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{vmm}/status")).unwrap();
    let helper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    installation.kill(helper);
    wait_until("stopped", || installation.state("victim") == "stopped");
    wait_until("VMM gone", || {
        !std::path::Path::new(&format!("/proc/{vmm}/root")).exists()
            || std::fs::read(format!("/proc/{vmm}/cmdline")).is_ok_and(|words| words.is_empty())
    });
    assert_eq!(installation.snapshot("victim")["status"]["exitCode"], 137);
}

#[test]
fn f13_a_second_apiserver_is_refused() {
    let installation = Installation::with_demo();
    let [first] = installation.pids("container-apiserver")[..] else { panic!("one apiserver") };
    let command = installation.command(&[]);
    let tree = std::path::Path::new(command.get_program()).ancestors().nth(2).unwrap();
    let mut second = std::process::Command::new(tree.join("libexec/bulkhead/container-apiserver"));
    for (name, value) in command.get_envs() {
        second.env(name, value.unwrap_or_default());
    }
    let outcome = bulkhead_tests::run_with_deadline(&mut second, b"");
    assert_ne!(outcome.code, 0);
    assert!(outcome.stderr.contains(&first.to_string()), "{outcome:?}");
    assert!(installation.ids().is_empty(), "the first one still serves");
}

#[test]
fn f8_a_dead_guest_kernel_is_told() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "bystander", "demo", "sleep", "600"]);
    // With the value 2 the kernel panics even when only a control group has no memory left.
    let outcome = installation.container(&[
        "run",
        "--name",
        "panics",
        "--memory",
        "200m",
        "--sysctl",
        "vm.panic_on_oom=2",
        "demo",
        "sh",
        "-c",
        "echo before; exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'",
    ]);
    let outcome = outcome.expect_code(137);
    assert_eq!(outcome.text(), "before\n");
    assert!(outcome.stderr.contains("guest kernel panic"), "{outcome:?}");
    let status = &installation.snapshot("panics")["status"];
    assert_eq!(status["state"], "stopped");
    assert_eq!(status["exitCode"], 137);
    assert_eq!(status["oomKilled"], true);
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.starts_with("guest kernel panic: Out of memory"), "{reason}");
    assert!(installation.run_ok(&["logs", "--boot", "panics"]).contains("Kernel panic"));
    assert_eq!(installation.run_ok(&["exec", "bystander", "echo", "alive"]), "alive");
    // Its disk is whole and free: it starts again.
    let again = installation.container(&["start", "--attach", "panics"]).expect_code(137);
    assert!(again.text().starts_with("before"), "{again:?}");
}

#[test]
fn f69_a_guest_that_hangs_is_told_and_may_come_back() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "hangs", "demo", "sleep", "600"]);
    let status = || installation.snapshot("hangs")["status"].clone();
    let pid = i32::try_from(status()["machine"]["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    wait_until("silence is noticed", || status()["unresponsiveSince"].is_string());
    // A new daemon learns of it from the helper.
    for apiserver in installation.pids("container-apiserver") {
        installation.kill(apiserver);
    }
    assert!(status()["unresponsiveSince"].is_string());
    assert_eq!(status()["state"], "running");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    wait_until("it is back", || status()["unresponsiveSince"].is_null());
    assert_eq!(installation.run_ok(&["exec", "hangs", "echo", "alive"]), "alive");
    // F10: what is stopped can still be removed.
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    installation.run_ok(&["delete", "--force", "hangs"]);
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn f5_an_interrupted_removal_is_completed() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "--name", "half", "demo", "true"]);
    installation.run_ok(&["create", "--name", "fresh", "demo", "true"]);
    let [apiserver] = installation.pids("container-apiserver")[..] else { panic!("one apiserver") };
    installation.kill(apiserver);
    // What a removal does first; its record is still there.
    let containers = installation.folder().join("app/containers");
    std::fs::rename(containers.join("half"), containers.join(".trash-interrupted")).unwrap();

    assert_eq!(installation.ids(), ["fresh"]);
    wait_until("the files are gone", || !containers.join(".trash-interrupted").exists());
    // The name is free, and nothing of the former container comes back.
    installation.run_ok(&["run", "--name", "half", "demo", "true"]);
    installation.run_ok(&["start", "fresh"]);
}

/// Long enough for a command to have asked what it asks.
const ASKED: Duration = Duration::from_secs(1);

#[test]
fn f5_who_waits_is_not_told_of_another_container_of_that_name() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "meant", "demo", "sleep", "600"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| installation.container(&["wait", "meant"]));
        std::thread::sleep(ASKED);
        installation.run_ok(&["rename", "meant", "renamed"]);
        let _ =
            installation.container(&["run", "--name", "meant", "demo", "sh", "-c", "exit 9"]).expect_code(9);
        kill_apiserver(&installation);
        std::thread::sleep(ASKED);
        installation.run_ok(&["kill", "renamed"]);
        let outcome = waiting.join().expect("no panic").expect_code(0);
        assert_eq!(outcome.text(), "137\n", "{outcome:?}");
    });
    // One that is no more is not waited for either.
    std::thread::scope(|scope| {
        installation.run_ok(&["run", "-d", "--rm", "--name", "gone", "demo", "sleep", "600"]);
        let waiting = scope.spawn(|| installation.container(&["wait", "gone"]));
        std::thread::sleep(ASKED);
        for pid in installation
            .pids("container-apiserver")
            .into_iter()
            .chain(installation.pids("container-runtime-linux"))
        {
            installation.kill(pid);
        }
        let outcome = waiting.join().expect("no panic").expect_code(1);
        assert!(outcome.stderr.contains("'gone' was removed"), "{outcome:?}");
    });
}

#[test]
fn f5_what_a_dead_apiserver_never_read_is_asked_again() {
    let installation = Installation::with_demo();
    let prepare: [&[&str]; 5] =
        [&["wait", "box"], &["stop", "box"], &["kill", "box"], &["pause", "box"], &["restart", "box"]];
    for arguments in prepare {
        installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
        for pid in installation.pids("container-apiserver") {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
        }
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| installation.container(arguments));
            std::thread::sleep(ASKED);
            kill_apiserver(&installation);
            if arguments[0] == "wait" {
                std::thread::sleep(ASKED);
                installation.run_ok(&["kill", "box"]);
            }
            let outcome = asking.join().expect("no panic");
            assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        });
        installation.run_ok(&["delete", "--force", "box"]);
    }
    // Names are chosen once, and removed once.
    installation.run_ok(&["create", "--name", "box", "demo"]);
    for pid in installation.pids("container-apiserver") {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    }
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| installation.container(&["delete", "box"]));
        std::thread::sleep(ASKED);
        kill_apiserver(&installation);
        let _ = asking.join().expect("no panic").expect_code(0);
    });
    assert!(installation.ids().is_empty());
}

fn kill_apiserver(installation: &Installation) {
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
}
