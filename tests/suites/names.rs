//! rename, list filters, prune, port.

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
    let refused = installation.container(&["rename", "old", "new"]).expect_code(1);
    assert!(refused.stderr.contains("container stop old"), "{refused:?}");
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
