//! `update`.

use bulkhead_tests::{Installation, wait_until};

fn end_apiserver(installation: &Installation) {
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
        wait_until("the apiserver is gone", || !installation.pids("container-apiserver").contains(&pid));
    }
}

#[test]
fn a_restart_policy_counts_at_once_and_a_machine_from_the_next_start() {
    let installation = Installation::with_demo();
    let waits = "while [ ! -e /end ]; do sleep 0.1; done; rm /end";
    installation.run_ok(&["run", "-d", "--name", "one", "-m", "512m", "demo", "sh", "-c", waits]);
    installation.run_ok(&["create", "--name", "two", "-m", "512m", "demo", "nproc"]);
    let updated = installation
        .container(&[
            "update",
            "--restart",
            "always",
            "-m",
            "300m",
            "--cpus",
            "2",
            "--pids-limit",
            "77",
            "one",
            "two",
        ])
        .expect_code(0);
    assert_eq!(updated.text(), "one\ntwo\n");
    assert!(updated.stderr.contains("'one' runs") && !updated.stderr.contains("'two'"), "{updated:?}");
    end_apiserver(&installation);
    for id in ["one", "two"] {
        let configuration = &installation.snapshot(id)["configuration"];
        assert_eq!(configuration["resources"]["memoryInBytes"], 300 << 20);
        assert_eq!(configuration["resources"]["cpus"], 2);
        assert_eq!(
            (&configuration["restartPolicy"], &configuration["pidsLimit"]),
            (&"always".into(), &77.into())
        );
    }
    // It ends by itself, and comes back with what it was given.
    let limit = |id: &str| installation.container(&["exec", id, "cat", "/sys/fs/cgroup/memory.max"]).text();
    let before = limit("one");
    installation.run_ok(&["exec", "one", "touch", "/end"]);
    wait_until("the restart", || installation.snapshot("one")["status"]["restartCount"].as_u64() > Some(0));
    wait_until("the new limit", || {
        let now = limit("one");
        !now.is_empty() && now != before
    });
    // No policy any more: it stays where it is.
    installation.run_ok(&["update", "--restart", "no", "one"]);
    assert!(installation.snapshot("one")["configuration"].get("restartPolicy").is_none());
    installation.run_ok(&["exec", "one", "touch", "/end"]);
    wait_until("the end", || installation.state("one") == "stopped");
}

#[test]
fn what_cannot_be_is_refused() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--rm", "--name", "gone", "demo", "true"]);
    for (words, code, told) in [
        (&["update", "gone"][..], 64, "nothing is to be changed"),
        (&["update", "--memory", "10m", "gone"], 1, "200 MiB"),
        (&["update", "--restart", "always", "gone"], 1, "removed when it stops"),
        (&["update", "--restart", "sometimes", "gone"], 64, "restart policy"),
        (&["update", "--restart", "no", "nobody"], 1, "nobody"),
    ] {
        let refused = installation.container(words).expect_code(code);
        assert!(refused.stderr.contains(told), "{words:?}: {refused:?}");
    }
}
