//! Health checks.

use std::time::Duration;

use bulkhead_tests::{Installation, wait_until};

#[test]
fn health_follows_the_check() {
    let installation = Installation::with_demo();
    let run = |name: &str, flags: &[&str]| {
        let words = [&["run", "-d", "--name", name], flags, &["demo", "sleep", "600"]].concat();
        installation.run_ok(&words);
    };
    let health = |name: &str| installation.snapshot(name)["status"]["health"].clone();
    run(
        "web",
        &[
            "--health-cmd",
            "echo looked; test -e /ready",
            "--health-interval",
            "200ms",
            "--health-retries",
            "2",
            "--health-start-period",
            "0s",
            "--health-timeout",
            "0s",
            "--stop-timeout",
            "7",
        ],
    );
    run(
        "hangs",
        &[
            "--health-cmd",
            "echo begun; sleep 60",
            "--health-interval",
            "200ms",
            "--health-timeout",
            "300ms",
            "--health-retries",
            "1",
        ],
    );
    run("plain", &["--no-healthcheck"]);
    // As often as Docker does when nothing else is said, which is not during this test.
    run("default", &["--health-cmd", "true", "--health-interval", "0s"]);
    run(
        "begins",
        &[
            "--health-cmd",
            "true",
            "--health-interval",
            "1.5h",
            "--health-start-interval",
            "200ms",
            "--health-start-period",
            "1h",
        ],
    );
    wait_until("a check within the start period", || health("begins")["status"] == "healthy");
    assert!(health("plain").is_null());
    wait_until("unhealthy", || health("web")["status"] == "unhealthy");
    let table = installation.run_ok(&["list"]);
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(row("web").contains(" running (unhealthy) "), "{table}");
    assert!(row("plain").contains(" running  "), "{table}");
    assert!(health("web")["failingStreak"].as_u64().unwrap() >= 2);
    assert_eq!(health("web")["log"][0]["output"], "looked\n");
    assert_eq!(health("web")["log"][0]["exitCode"], 1);
    for (name, template, expected) in [
        (
            "web",
            "{{(index .State.Health.Log 0).Output}}{{(index .State.Health.Log 0).ExitCode}}",
            "looked\\n1",
        ),
        ("web", "{{json .Config.Healthcheck.Test}}", r#"["CMD-SHELL","echo looked; test -e /ready"]"#),
        ("web", "{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}}", "200000000 30000000000"),
        ("web", "{{.Config.Healthcheck.StartPeriod}} {{.Config.Healthcheck.Retries}}", "0 2"),
        ("web", "{{.Config.StopTimeout}}", "7"),
        ("plain", "{{if .Config.Healthcheck}}checked{{else}}not checked{{end}}", "not checked"),
    ] {
        assert_eq!(installation.run_ok(&["inspect", "-f", template, name]), expected, "{template}");
    }
    wait_until("a hanging check is killed", || health("hangs")["status"] == "unhealthy");
    assert_eq!(health("hangs")["log"][0]["exitCode"], -1);
    wait_until("no check is left over", || {
        installation.run_ok(&["exec", "hangs", "ps"]).matches("echo begun").count() <= 1
    });
    installation.run_ok(&["exec", "web", "touch", "/ready"]);
    wait_until("healthy", || health("web")["status"] == "healthy");
    assert_eq!(health("web")["failingStreak"], 0);
    assert!(health("web")["log"].as_array().unwrap().len() <= 5);
    assert_eq!(installation.run_ok(&["list", "-q", "--filter", "health=healthy"]), "begins\nweb");
    // A frozen container answers no check, and that says nothing of its health.
    installation.run_ok(&["pause", "web"]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(health("web")["status"], "healthy");
    installation.run_ok(&["unpause", "web"]);

    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert_eq!(health("web")["status"], "healthy", "it survives the service");
    installation.run_ok(&["exec", "web", "rm", "/ready"]);
    wait_until("checks go on", || health("web")["status"] == "unhealthy");
    assert_eq!(health("default")["status"], "starting");
    assert_eq!(health("begins")["log"].as_array().unwrap().len(), 1, "from then on it is checked rarely");
    let told = installation.run_ok(&[
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "event=health_status",
    ]);
    assert!(told.contains("web") && told.contains("health=unhealthy"), "{told}");
    let filter = ["--filter", "event=health_status: unhealthy", "--format", "{{.Action}}"];
    let told = installation.run_ok(&[&["events", "--since", "10m", "--until", "0s"], &filter[..]].concat());
    assert!(
        told.lines().count() > 0 && told.lines().all(|line| line == "health_status: unhealthy"),
        "{told}"
    );
}
