//! Memory, many containers, full disks.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, Outcome, run_with_deadline, wait_until};

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
    let archive = installation.debian_archive();
    let script = format!(
        "set -e; mkdir -p {0}/app; mount -t tmpfs -o size=64m,mode=700 tmpfs {0}/app; \
         $C image load -i $DEBIAN && exit 9; echo \"code $?\"; $C image list --quiet; ls {0}/app/images/tmp; \
         $C image load -i $D >/dev/null; $C run --rm --network none demo echo recovered; $C system stop",
        installation.folder().display()
    );
    let demo = installation.demo_archive();
    let outcome = in_mount_namespace(&installation, &script, &[("D", &demo), ("DEBIAN", &archive)]);
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

#[test]
fn f62_a_fork_bomb_stays_in_its_machine() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "bystander", "--memory", "200m", "demo", "sleep", "600"]);
    let before = all_processes();
    installation.run_ok(&["run", "-d", "--name", "limited", "--pids-limit", "50", "demo", "sh", "-c", BOMB]);
    installation.run_ok(&["run", "-d", "--name", "bomb", "--memory", "1g", "demo", "sh", "-c", BOMB]);
    wait_until("explosion", || installation.run_ok(&["logs", "-n", "50", "bomb"]).contains("can't fork"));
    // Guest processes are host processes: the jail's RLIMIT_NPROC bounds them, and the host still works.
    assert!(all_processes() < before + 8192 + 500, "{before} before, {} now", all_processes());
    assert!(installation.run_ok(&["list", "--quiet"]).contains("bomb"));
    assert_eq!(installation.run_ok(&["exec", "bystander", "echo", "alive"]), "alive");
    assert!(installation.run_ok(&["logs", "-n", "50", "limited"]).contains("can't fork"));
    installation.run_ok(&["delete", "--force", "bomb", "limited"]);
    wait_until("the processes are gone", || all_processes() < before + 100);
}

const BOMB: &str = "exec 2>&1; b() { b | b & }; b; sleep 600";

fn all_processes() -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .count()
}

#[test]
fn f64_a_container_that_burns_its_processor_holds_up_nobody() {
    let installation = Installation::with_demo();
    for number in 0..3 {
        let name = format!("burner{number}");
        installation.run_ok(&[
            "run",
            "-d",
            "--name",
            &name,
            "--memory",
            "200m",
            "demo",
            "sh",
            "-c",
            "while :; do :; done",
        ]);
    }
    // An answer within the command's deadline; how fast is the benchmark's matter.
    assert_eq!(installation.run_ok(&["list", "--quiet"]).lines().count(), 3);
    assert_eq!(installation.run_ok(&["exec", "burner1", "echo", "alive"]), "alive");
    assert_eq!(installation.run_ok(&["run", "--rm", "--memory", "200m", "demo", "echo", "new"]), "new");
    installation.run_ok(&["stop", "--time", "1", "burner0"]);
    assert_eq!(installation.state("burner0"), "stopped");
}

#[test]
fn f67_a_machine_with_more_memory_than_the_host_runs() {
    let installation = Installation::with_demo();
    installation.run_ok(&["image", "tag", "demo", "big"]);
    let outcome = installation.container(&[
        "run",
        "--rm",
        "--cpus",
        "8",
        "--memory",
        "32g",
        "big",
        "grep",
        "MemTotal",
        "/proc/meminfo",
    ]);
    let outcome = outcome.expect_code(0);
    let total: u64 = outcome.text().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(total > 31 << 20, "{outcome:?}");
    let information = rustix::system::sysinfo();
    let host = (information.totalram + information.totalswap) * u64::from(information.mem_unit);
    assert_eq!(outcome.stderr.contains("this host"), host < (32 << 30) + (128 << 20), "{outcome:?}");
    let refused = installation.container(&["run", "--rm", "--memory", "1p", "big", "true"]).expect_code(125);
    assert!(refused.stderr.contains("cannot boot"), "{refused:?}");
    assert!(installation.ids().is_empty());
}

#[test]
fn f67_a_tmpfs_ends_where_its_size_does() {
    let installation = Installation::with_demo();
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; dd if=/dev/zero of=/t/x bs=1M count=20; du -sm /dev/shm /t";
    let outcome = installation
        .container(&["run", "--rm", "--shm-size", "8m", "--tmpfs", "/t:size=4m", "demo", "sh", "-c", script])
        .expect_code(0);
    assert_eq!(outcome.text(), "8\t/dev/shm\n4\t/t\n", "{outcome:?}");
    assert_eq!(outcome.stderr.matches("No space left").count(), 2, "{outcome:?}");
}

#[test]
fn f22_a_full_host_disk_is_an_error_in_the_guest_alone() {
    let installation = Installation::new();
    let demo = installation.demo_archive();
    let script = format!(
        "set -e; mkdir -p {0}/app; mount -t tmpfs -o size=200m,mode=700 tmpfs {0}/app; \
         $C image load -i $D >/dev/null; $C run -d --name bystander demo sleep 600 >/dev/null; \
         $C run --name full demo sh -c 'dd if=/dev/zero of=/big bs=1M count=400 conv=fsync 2>/dev/null; echo dd $?'; \
         $C exec bystander echo alive; $C delete full; \
         i=0; until $C run --rm --network none demo echo recovered 2>/dev/null; do i=$((i+1)); [ $i -lt 50 ]; sleep 0.2; done; \
         $C delete --force bystander; $C system stop",
        installation.folder().display()
    );
    let outcome = in_mount_namespace(&installation, &script, &[("D", &demo)]).expect_code(0);
    assert_eq!(outcome.text(), "dd 1\nalive\nfull\nrecovered\nbystander\n", "{outcome:?}");
}
