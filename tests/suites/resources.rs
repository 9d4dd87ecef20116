//! Memory, many containers, full disks.

use std::path::Path;
use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, Outcome, run_with_deadline};

#[test]
fn twenty_at_once_all_run() {
    let installation = Installation::with_demo();
    let children: Vec<_> = (0..20)
        .map(|number| {
            let word = number.to_string();
            installation
                .command(&["run", "--rm", "--memory", "200m", "demo", "echo", &word])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{number}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
    }
    assert!(installation.ids().is_empty());
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn f61_out_of_memory_hits_the_guilty_container_alone() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "bystander", "--memory", "200m", "demo", "sleep", "600"]);
    let outcome = installation.container(&[
        "run",
        "--name",
        "guilty",
        "--memory",
        "200m",
        "demo",
        "sh",
        "-c",
        "exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'",
    ]);
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert_eq!(installation.snapshot("guilty")["status"]["oomKilled"], true);
    assert_eq!(installation.run_ok(&["exec", "bystander", "echo", "alive"]), "alive");
}

#[test]
fn f68_a_low_limit_of_mappings_is_told_before_the_start() {
    let installation = Installation::with_demo();
    installation.run_ok(&["system", "stop"]);
    // In a mount namespace where nobody can raise it; shared by command and daemons.
    let low = installation.folder().join("max_map_count");
    std::fs::write(&low, "65530\n").unwrap();
    let script = format!(
        "set -e; mount --bind {low} /proc/sys/vm/max_map_count; mount -o remount,bind,ro /proc/sys/vm/max_map_count; \
         $C run --rm --memory 200m demo echo small; $C run --rm --memory 512m demo echo large; \
         $C system status; $C system stop",
        low = low.display()
    );
    let outcome = in_mount_namespace(&installation, &script, &[]);
    assert!(outcome.text().starts_with("small\nlarge\n"), "{outcome:?}");
    let remedy = "sysctl -w vm.max_map_count=";
    assert_eq!(outcome.stderr.matches(remedy).count(), 1, "only the large one can reach it: {outcome:?}");
    assert!(outcome.text().contains(remedy), "the status tells: {outcome:?}");
}

#[test]
fn f21_a_full_disk_while_pulling_leaves_nothing() {
    let installation = Installation::new();
    // A small tmpfs as the app root, in a mount namespace shared by command and daemons.
    let archive = std::env::var("BULKHEAD_TEST_DEBIAN_IMAGE").expect("set by `cargo xtask test`");
    let script = format!(
        "set -e; mkdir -p {0}/app; mount -t tmpfs -o size=64m,mode=700 tmpfs {0}/app; \
         $C image load -i {archive} && exit 9; echo \"code $?\"; $C image list --quiet; ls {0}/app/images/tmp; \
         $C image load -i $D >/dev/null; $C run --rm --network none demo echo recovered; $C system stop",
        installation.folder().display()
    );
    let demo = installation.demo_archive();
    let outcome = in_mount_namespace(&installation, &script, &[("D", &demo)]);
    assert_eq!(outcome.text(), "code 1\nrecovered\n", "{outcome:?}");
    assert!(outcome.stderr.to_lowercase().contains("no space"), "{outcome:?}");
}

/// Runs a script with the command as `$C`, alone with what it mounts.
fn in_mount_namespace(installation: &Installation, script: &str, variables: &[(&str, &Path)]) -> Outcome {
    let command = installation.command(&[]);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script]).env("C", command.get_program());
    shell.envs(variables.iter().copied());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    run_with_deadline(&mut shell, b"")
}
