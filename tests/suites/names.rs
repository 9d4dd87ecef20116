//! rename, list filters, prune, port.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{Installation, wait_until};

#[test]
fn a_new_name_takes_everything_along() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "old",
        "demo",
        "sh",
        "-c",
        "echo said; touch /kept; sleep 600",
    ]);
    wait_until("output", || installation.run_ok(&["logs", "old"]) == "said");
    installation.run_ok(&["stop", "-t", "0", "old"]);
    installation.run_ok(&["create", "--name", "taken", "demo", "true"]);
    let _ = installation.container(&["rename", "old", "taken"]).expect_code(1);
    let _ = installation.container(&["rename", "old", "../x"]).expect_code(64);
    let _ = installation.container(&["rename", "nobody", "new"]).expect_code(1);
    assert_eq!(installation.run_ok(&["rename", "old", "new"]), "");
    assert_eq!(installation.ids(), ["new", "taken"]);
    assert_eq!(installation.run_ok(&["logs", "new"]), "said");
    installation.run_ok(&["start", "new"]);
    assert_eq!(
        installation.run_ok(&["exec", "new", "sh", "-c", "ls /kept; hostname; echo $HOSTNAME"]),
        "/kept\nnew\nnew"
    );
    installation.run_ok(&["run", "-d", "--name", "old", "demo", "sleep", "600"]);
    let found = installation.container(&["exec", "old", "nslookup", "new"]);
    assert_eq!(found.code, 0, "{found:?}");
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert_eq!(installation.ids(), ["new", "old", "taken"]);
    assert_eq!(installation.run_ok(&["exec", "new", "echo", "alive"]), "alive");
    assert_eq!(installation.container_leftovers().len(), 2, "one was never started");
}

#[test]
fn a_running_container_gets_another_name_and_goes_on() {
    let installation = Installation::with_demo();
    let run = |name: &str, flags: &[&str], script: &str| {
        let words = [&["run", "-d", "--name", name][..], flags, &["demo", "sh", "-c", script]].concat();
        installation.run_ok(&words);
    };
    run("peer", &[], "sleep 600");
    let script = "trap 'exit 7' TERM; while ! [ -e /more ]; do sleep 0.1; done; echo more; while :; do sleep 0.1; done";
    run("old", &["-v", "data:/data", "-p", "127.0.0.1::80"], script);
    let exchange = || {
        let words = ["exec", "peer", "nslookup"];
        let known = |name| installation.container(&[&words[..], &[name]].concat()).code == 0;
        (known("old"), known("new"))
    };
    assert_eq!(exchange(), (true, false));
    let before = installation.snapshot("old");
    // Attached, so that signals come by whatever name it has then.
    let ended = "trap 'echo told; exit 3' INT; echo ready; while :; do sleep 0.1; done";
    let mut attached = installation.command(&["exec", "old", "sh", "-c", ended]);
    let mut attached = attached.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(attached.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let refused = installation.container(&["rename", "old", "peer"]).expect_code(1);
    assert!(refused.stderr.contains("'peer' already exists"), "{refused:?}");
    installation.run_ok(&["rename", "old", "new"]);
    assert_eq!(installation.ids(), ["new", "peer"]);
    let after = installation.snapshot("new");
    assert_eq!(after["id"], "new");
    assert_eq!(after["configuration"]["networks"][0]["options"]["hostname"], "new");
    for key in ["startedDate", "machine", "publishedPorts"] {
        assert_eq!(after["status"][key], before["status"][key], "{key}");
    }
    assert_eq!(exchange(), (false, true));
    let _ = installation.container(&["inspect", "old"]).expect_code(1);
    let used = installation.container(&["run", "--rm", "-v", "data:/data", "demo", "true"]).expect_code(125);
    assert!(used.stderr.contains("in use by container 'new'"), "{used:?}");
    // Somebody else's by now: nothing that began under the name reaches it.
    run("old", &[], "trap 'exit 9' INT; while :; do sleep 0.1; done");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(attached.id()).unwrap()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "told\n");
    assert_eq!(attached.wait().unwrap().code(), Some(3));
    assert_eq!(installation.state("old"), "running");

    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert_eq!(installation.ids(), ["new", "old", "peer"]);
    assert_eq!(installation.state("new"), "running");
    assert_eq!(exchange(), (true, true));
    installation.run_ok(&["exec", "new", "touch", "/more"]);
    wait_until("the log", || installation.run_ok(&["logs", "new"]) == "more");
    installation.run_ok(&["rename", "new", "newer"]);
    installation.run_ok(&["stop", "newer"]);
    assert_eq!(installation.wait_for_exit("newer"), 7, "its exit status is where it is looked for");
    installation.run_ok(&["start", "newer"]);
    assert_eq!(installation.run_ok(&["exec", "newer", "hostname"]), "newer");
    assert_eq!(installation.state("old"), "running");
}

#[test]
fn who_follows_a_container_follows_its_name() {
    let installation = Installation::with_demo();
    let script = "trap 'echo ended; exit 4' TERM; echo begun; while :; do sleep 0.1; done";
    installation.run_ok(&["run", "-d", "--name", "old", "demo", "sh", "-c", script]);
    let [logs, wait] = [&["logs", "-f", "old"][..], &["wait", "old"]]
        .map(|words| installation.command(words).stdout(Stdio::piped()).spawn().unwrap());
    wait_until("the log", || installation.run_ok(&["logs", "old"]) == "begun");
    installation.run_ok(&["rename", "old", "new"]);
    installation.run_ok(&["stop", "new"]);
    let text =
        |child: std::process::Child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(text(logs), "begun\nended\n");
    assert_eq!(text(wait), "4\n");
}

/// Wherever the apiserver dies, the container has one of the names, and with it everything.
#[test]
fn a_renaming_that_is_interrupted_is_completed_or_never_was() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "peer", "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "n0", "demo", "sleep", "600"]);
    let mut name = "n0".to_owned();
    for round in 1..=8 {
        let next = format!("n{round}");
        let pids = installation.pids("container-apiserver");
        let mut renaming =
            installation.command(&["rename", &name, &next]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 3));
        pids.into_iter().for_each(|pid| installation.kill(pid));
        renaming.wait().unwrap();
        let ids = installation.ids();
        assert_eq!(ids.len(), 2, "{ids:?}");
        name.clone_from(&ids[0]);
        assert_eq!(installation.state(&name), "running", "{name}");
        assert_eq!(installation.run_ok(&["exec", &name, "echo", "alive"]), "alive");
        let found = installation.container(&["exec", "peer", "nslookup", &name]);
        assert_eq!(found.code, 0, "{name}: {found:?}");
    }
    installation.run_ok(&["stop", "-t", "0", &name]);
    assert_eq!(installation.wait_for_exit(&name), 137);
    installation.run_ok(&["start", &name]);
}

#[test]
fn fifty_renames_to_one_name_leave_one_winner() {
    let installation = Installation::with_demo();
    let names: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    for name in &names {
        installation.run_ok(&["create", "--name", name, "demo", "true"]);
    }
    let children: Vec<_> = (0..50)
        .map(|number| {
            let mut command = installation.command(&["rename", &names[number % 10], "prize"]);
            command.stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    let won = children.into_iter().map(|mut child| child.wait().unwrap().success());
    assert_eq!(won.filter(|won| *won).count(), 1);
    let ids = installation.ids();
    assert_eq!(ids.len(), 10);
    assert!(ids.contains(&"prize".to_owned()));
}

#[test]
fn lists_are_filtered() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "zz-first", "--label", "tier=front", "demo", "true"]);
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "failed",
        "--label",
        "tier=back",
        "demo",
        "sh",
        "-c",
        "exit 3",
    ]);
    assert_eq!(installation.run_ok(&["wait", "failed"]), "3");
    installation.run_ok(&["run", "-d", "--name", "runs", "demo", "sleep", "600"]);
    installation.run_ok(&["create", "--name", "aa-last", "demo", "true"]);
    let list = |flags: &[&str]| installation.run_ok(&[&["list", "--quiet"], flags].concat());
    assert_eq!(list(&[]), "runs");
    assert_eq!(list(&["--latest"]), "aa-last");
    assert_eq!(list(&["-n", "2"]), "aa-last\nruns");
    assert_eq!(list(&["--filter", "status=exited"]), "failed");
    assert_eq!(list(&["--filter", "exited=3"]), "failed");
    assert_eq!(list(&["-a", "--filter", "status=created"]), "aa-last\nzz-first");
    assert_eq!(list(&["-a", "--filter", "label=tier"]), "failed\nzz-first");
    assert_eq!(list(&["-a", "--filter", "label=tier=back"]), "failed");
    assert_eq!(list(&["--filter", "name=un", "--filter", "ancestor=demo"]), "runs");
    installation.run_ok(&[
        "create",
        "--name",
        "apart",
        "--network",
        "none",
        "-v",
        "kept:/data",
        "demo",
        "true",
    ]);
    for filter in ["volume=kept", "volume=/data"] {
        assert_eq!(list(&["-a", "--filter", filter]), "apart", "{filter}");
    }
    assert!(!list(&["-a", "--filter", "network=default"]).contains("apart"));
    assert_eq!(list(&["--filter", "network=default", "--filter", "network=other"]), "runs");
    installation.run_ok(&["rm", "apart"]);
    assert_eq!(installation.container(&["list", "-q", "--filter", "name=nothing"]).stdout, b"");
    let _ = installation.container(&["list", "--filter", "color=red"]).expect_code(64);

    let outcome = installation.container(&["prune", "--filter", "label=tier=back"]).expect_code(0);
    assert_eq!(outcome.text(), "failed\n");
    assert!(
        outcome.stderr.starts_with("Reclaimed ") && outcome.stderr.ends_with(" in disk space\n"),
        "{outcome:?}"
    );
    assert_eq!(installation.container(&["prune", "--filter", "until=1h"]).expect_code(0).stdout, b"");
    assert_eq!(installation.run_ok(&["prune"]), "aa-last\nzz-first");
    assert_eq!(installation.ids(), ["runs"]);

    assert_eq!(installation.container(&["port", "runs"]).expect_code(0).stdout, b"");
    let refused = installation.container(&["port", "runs", "80/tcp"]).expect_code(1);
    assert!(refused.stderr.contains("80/tcp"), "{refused:?}");
}
