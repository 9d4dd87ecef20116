//! What is told of containers and images.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use bulkhead_tests::{Installation, wait_until};
use serde_json::Value;

#[test]
fn a_life_is_told_in_order() {
    let installation = Installation::with_demo();
    let mut follower = installation
        .command(&["events", "--format", "json", "--filter", "container=web", "--filter", "event=destroy"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let follower_output = BufReader::new(follower.stdout.take().unwrap());
    installation.run_ok(&["image", "tag", "demo", "other:1"]);
    installation.run_ok(&["create", "--name", "old", "--label", "tier=front", "demo", "sleep", "600"]);
    installation.run_ok(&["rename", "old", "web"]);
    installation.run_ok(&["start", "web"]);
    installation.run_ok(&["restart", "-t", "0", "web"]);
    installation.run_ok(&["stop", "-t", "0", "web"]);
    installation.run_ok(&["delete", "web"]);
    installation.run_ok(&["image", "delete", "other:1"]);
    let events = |flags: &[&str]| -> Vec<Value> {
        let words = [&["events", "--since", "1h", "--until", "0s", "--format", "json"], flags].concat();
        installation.run_ok(&words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let actions = |flags: &[&str]| -> Vec<String> {
        events(flags).iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        actions(&["--filter", "type=container"]),
        [
            "create", "rename", "start", "kill", "die", "stop", "start", "restart", "kill", "die", "stop",
            "destroy"
        ]
    );
    assert_eq!(actions(&["--filter", "type=image"]), ["load", "tag", "delete"]);
    let die = &events(&["--filter", "event=die", "--filter", "label=tier=front"])[0];
    assert_eq!(die["attributes"]["exitCode"], "137");
    assert_eq!(die["attributes"]["image"], "docker.io/library/demo:latest");
    assert_eq!(events(&["--filter", "event=rename"])[0]["attributes"]["oldName"], "old");
    assert!(actions(&["--filter", "label=tier=back"]).is_empty());
    // `--since` alone would go on.
    let plain = installation.run_ok(&["events", "--since", "1h", "--until", "0s", "--filter", "event=tag"]);
    assert!(plain.contains(" image tag docker.io/library/other:1 ("), "{plain}");

    let template = |format: &str| {
        let words = ["events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--format", format];
        installation.run_ok(&words)
    };
    assert_eq!(template("{{.action}} {{.id}} {{.attributes.exitCode}}"), "die web 137\ndie web 137");
    assert_eq!(
        template("{{.Type}} {{.Actor.ID}} {{.Actor.Attributes.tier}}"),
        "container web front\ncontainer web front"
    );
    let _ = installation.container(&["events", "--format", "{{.Acton}}"]).expect_code(64);

    let line = follower_output.lines().next().unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["id"], "web");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let _ = installation.container(&["events", "--filter", "color=red"]).expect_code(64);
    let _ = installation.container(&["events", "--since", "0s", "--until", "1h"]).expect_code(1);
}

#[test]
fn what_is_done_in_a_container_is_told_without_command_lines() {
    let installation = Installation::with_demo();
    let file = installation.folder().join("file");
    std::fs::write(&file, "content").unwrap();
    let file = file.to_str().unwrap();
    // Checks of its health are nobody's commands.
    let checked = ["--health-cmd", "true", "--health-interval", "100ms"];
    installation.run_ok(&[&["run", "-d", "--name", "web"], &checked[..], &["demo", "sleep", "600"]].concat());
    let failed = installation.container(&["exec", "web", "sh", "-c", "exit 3 # secret"]);
    assert_eq!(failed.code, 3, "{failed:?}");
    let told = |template: &str| {
        let all = ["events", "--since", "1h", "--until", "0s", "--filter", "type=container"];
        installation.run_ok(&[&all[..], &["--format", template]].concat())
    };
    installation.run_ok(&["exec", "-d", "web", "false"]);
    wait_until("the end of a process that nobody waits for", || {
        told("{{.Action}}").matches("exec_die").count() == 2
    });
    installation.run_ok(&["cp", file, "web:/tmp/file"]);
    installation.run_ok(&["stop", "-t", "0", "web"]);
    installation.run_ok(&["cp", "web:/etc/passwd", file]);
    installation.run_ok(&["export", "-o", file, "web"]);
    let _ = installation.container(&["cp", "web:/no/such/file", file]).expect_code(1);
    let actions = told("{{.Action}}");
    let actions: Vec<&str> = actions.lines().filter(|action| !action.starts_with("health_status")).collect();
    assert_eq!(
        actions,
        [
            "create",
            "start",
            "exec_create",
            "exec_start",
            "exec_die",
            "exec_create",
            "exec_start",
            "exec_die",
            "extract-to-dir",
            "kill",
            "die",
            "stop",
            "archive-path",
            "export"
        ]
    );
    let template = "{{.Action}} {{.Actor.Attributes.execID}} {{.Actor.Attributes.exitCode}}";
    let ends = told(template);
    let ends: Vec<Vec<&str>> =
        ends.lines().filter(|line| line.starts_with("exec_")).map(|line| line.split(' ').collect()).collect();
    assert_eq!((ends[2][2], ends[5][2]), ("3", "1"), "{ends:?}");
    assert!(ends[0][1] == ends[2][1] && ends[3][1] == ends[5][1] && ends[0][1] != ends[3][1], "{ends:?}");
    let everything = told("{{json .}}");
    assert!(!everything.contains("secret"), "{everything}");
}

#[test]
fn networks_tell_who_joins_and_leaves() {
    let installation = Installation::with_demo();
    installation.run_ok(&["network", "create", "back"]);
    installation.run_ok(&["run", "--rm", "--name", "web", "--network", "back", "demo", "true"]);
    installation.run_ok(&["network", "delete", "back"]);
    let told = |filter: &str| {
        let format = "{{.Type}}:{{.Action}}:{{index .Actor.Attributes \"container\"}}";
        let words = ["events", "--since", "1h", "--until", "0s", "--filter", filter, "--format", format];
        installation.run_ok(&words).lines().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        told("network=back"),
        "network:create: network:connect:web network:disconnect:web network:destroy:"
    );
    let life = told("container=web");
    assert!(life.contains("network:connect:web container:start:"), "{life}");
    assert!(life.contains("container:die: network:disconnect:web container:destroy:"), "{life}");
    let _ = installation.container(&["events", "--filter", "type=networks"]).expect_code(64);
}
