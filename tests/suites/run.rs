//! `run` and `create`: what reaches the container's process, and what comes back.

use bulkhead_tests::Installation;

#[test]
fn the_program_runs_on_a_kernel_of_its_own() {
    let installation = Installation::with_demo();
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let guest = installation.run_ok(&["run", "--rm", "demo", "uname", "-r"]);
    assert!(!guest.is_empty());
    assert_ne!(guest, host.trim());
    assert!(installation.run_ok(&["run", "--rm", "demo"]).contains("virtual machine of its own"));
    assert!(installation.ids().is_empty());
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn exit_codes_come_back() {
    let installation = Installation::with_demo();
    for code in [0, 3, 127, 137, 255] {
        let script = format!("exit {code}");
        let outcome = installation.container(&["run", "--rm", "demo", "sh", "-c", &script]);
        assert_eq!(outcome.code, code, "{outcome:?}");
    }
    let killed = installation.container(&["run", "--rm", "demo", "sh", "-c", "kill -KILL $$; sleep 9"]);
    // A PID namespace's first process ignores its own SIGKILL (pid_namespaces(7)).
    assert_eq!(killed.code, 0, "{killed:?}");
    let killed = installation.container(&["run", "--rm", "--init", "demo", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(killed.code, 137, "{killed:?}");
}

#[test]
fn f57_commands_that_cannot_run_have_codes_of_their_own() {
    let installation = Installation::with_demo();
    let missing = installation.container(&["run", "--rm", "demo", "no-such-command"]).expect_code(127);
    assert!(missing.stderr.contains("no-such-command"), "{missing:?}");
    assert_eq!(missing.stderr.trim_end().lines().count(), 1, "{missing:?}");
    let _ = installation.container(&["run", "--rm", "demo", "/etc/passwd"]).expect_code(126);
    let _ = installation.container(&["run", "-d", "demo", "no-such-command"]).expect_code(127);
    assert!(installation.ids().is_empty());
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn process_flags_reach_the_process() {
    let installation = Installation::with_demo();
    let run = |flags: &[&str], command: &[&str]| {
        let mut words = vec!["run", "--rm"];
        words.extend_from_slice(flags);
        words.push("demo");
        words.extend_from_slice(command);
        installation.run_ok(&words)
    };
    assert_eq!(run(&["-e", "A=b=c"], &["sh", "-c", "echo $A"]), "b=c");
    assert_eq!(run(&["-w", "/made/here"], &["pwd"]), "/made/here");
    assert_eq!(run(&["-u", "guest"], &["id", "-u"]), "1000");
    assert_eq!(run(&["-u", "1234:99"], &["sh", "-c", "echo $(id -u):$(id -g)"]), "1234:99");
    assert_eq!(run(&["-u", "guest"], &["id", "-G"]), "1000 10");
    assert_eq!(run(&["--entrypoint", "echo"], &["one", "two"]), "one two");
    assert_eq!(run(&["--name", "web.example"], &["hostname"]), "web");
    assert_eq!(run(&["--ulimit", "nofile=64:128"], &["sh", "-c", "ulimit -n; ulimit -Hn"]), "64\n128");
    assert_eq!(run(&["--read-only"], &["sh", "-c", "touch /x 2>/dev/null || echo refused"]), "refused");
    assert_eq!(run(&["--tmpfs", "/scratch"], &["sh", "-c", "touch /scratch/x && ls /scratch"]), "x");
    let dropped =
        run(&["--cap-drop", "ALL", "--cap-add", "SETUID"], &["grep", "CapEff", "/proc/self/status"]);
    assert!(dropped.ends_with("0000000000000080"), "{dropped}");
}

#[test]
fn the_container_looks_as_oci_says() {
    let installation = Installation::with_demo();
    let run = |script: &str| installation.run_ok(&["run", "--rm", "demo", "sh", "-c", script]);
    assert_eq!(run("echo $$"), "1");
    assert_eq!(run("grep CapEff /proc/self/status").split_whitespace().last(), Some("00000000a80425fb"));
    assert_eq!(run("stat -c %F /dev/null /dev/full /dev/tty | sort -u"), "character special file");
    assert_eq!(run("cat /proc/kcore 2>/dev/null | head -c 1 | wc -c"), "0");
    assert_eq!(run("echo x > /proc/sys/kernel/hostname 2>/dev/null || echo refused"), "refused");
    assert!(run("cat /proc/mounts").lines().any(|line| line.contains(" /dev/shm tmpfs ")));
    assert_eq!(run("ls -d /sys/fs/cgroup/cgroup.procs"), "/sys/fs/cgroup/cgroup.procs");
    // /dev/stdout must be openable: many images link their logs to it.
    assert_eq!(run("echo through > /dev/stdout"), "through");
}

#[test]
fn asked_cpus_and_real_cpus_are_both_shown() {
    let installation = Installation::with_demo();
    installation
        .run_ok(&["run", "-d", "--name", "wide", "--cpus", "8", "--memory", "300m", "demo", "sleep", "60"]);
    let snapshot = installation.snapshot("wide");
    assert_eq!(snapshot["configuration"]["resources"]["cpus"], 8);
    assert_eq!(snapshot["configuration"]["resources"]["memoryInBytes"], 300 << 20);
    assert_eq!(snapshot["status"]["machine"]["cpus"], 1);
    assert!(snapshot["status"]["machine"]["kernelBootUs"].as_u64().unwrap() > 0);
}

#[test]
fn init_reaps_orphans() {
    let installation = Installation::with_demo();
    let script = "(sleep 0 & exec sleep 0.2) & wait; sleep 0.5; ps -o stat | grep -c Z";
    let outcome = installation.container(&["run", "--rm", "--init", "demo", "sh", "-c", script]);
    assert_eq!(outcome.text().trim(), "0", "{outcome:?}");
}
