//! Images for other architectures, of each that there is an emulator of.

use std::fs;

use bulkhead_tests::{Installation, Registry};

const IMAGE: &str = "foreign:test";
/// What uname(2) says on each architecture.
const MACHINES: [(&str, &str); 6] = [
    ("386", "i686"),
    ("arm", "armv7l"),
    ("arm64", "aarch64"),
    ("ppc64le", "ppc64le"),
    ("riscv64", "riscv64"),
    ("s390x", "s390x"),
];

fn installation() -> Installation {
    let installation = Installation::new();
    installation.load(&installation.foreign_archive());
    installation
}

#[test]
fn programs_of_each_architecture_run() {
    let installation = installation();
    for (architecture, machine) in MACHINES {
        let platform = format!("linux/{architecture}");
        // Pipes, processes and a file of the writable disk, each by a program of that architecture.
        let script = "busybox uname -m | busybox tee /tmp/machine; busybox cat /tmp/machine; exit 7";
        let run = ["run", "--rm", "--platform", &platform, IMAGE, "busybox", "sh", "-c", script];
        let outcome = installation.container(&run).expect_code(7);
        assert_eq!(outcome.text(), format!("{machine}\n{machine}\n"), "{architecture}: {outcome:?}");
    }
}

#[test]
fn a_container_of_another_architecture_is_as_any_other() {
    let installation = installation();
    let script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "arm",
        "--arch",
        "arm64",
        "--init",
        "--user",
        "1000:1000",
        "--read-only",
        "--tmpfs",
        "/tmp",
        IMAGE,
        "bash",
        "-c",
        script,
    ]);
    bulkhead_tests::wait_until("its word", || installation.run_ok(&["logs", "arm"]) == "ready");
    assert_eq!(installation.run_ok(&["exec", "arm", "uname", "-m"]), "aarch64");
    assert_eq!(installation.run_ok(&["exec", "-u", "0", "arm", "bash", "-c", "id -u; arch"]), "0\naarch64");
    let line = installation.container_with_input(&["exec", "-i", "arm", "cat"], b"through\n");
    assert_eq!(line.text(), "through\n", "{line:?}");
    // Programs that load libraries, with threads.
    let threads = "import threading, subprocess, os\n\
                   found = []\n\
                   work = [threading.Thread(target=lambda n=n: found.append(n * n)) for n in range(20)]\n\
                   [one.start() for one in work]; [one.join() for one in work]\n\
                   print(sum(found), os.uname().machine, subprocess.check_output(['nproc', '--all']).decode().strip())";
    assert_eq!(installation.run_ok(&["exec", "arm", "python3", "-c", threads]), "2470 aarch64 1");
    assert_eq!(installation.container(&["exec", "arm", "nothing"]).code, 127);
    let listed = installation.run_ok(&["list"]);
    assert!(listed.lines().any(|line| line.contains("arm64") && line.contains("running")), "{listed}");
    assert_eq!(installation.snapshot("arm")["configuration"]["platform"]["architecture"], "arm64");

    installation.run_ok(&["restart", "arm"]);
    assert_eq!(installation.run_ok(&["exec", "arm", "uname", "-m"]), "aarch64");
    bulkhead_tests::wait_until("its trap", || installation.run_ok(&["logs", "arm"]).ends_with("ready"));
    installation.run_ok(&["stop", "arm"]);
    assert_eq!(installation.wait_for_exit("arm"), 9);
    // Its files are read by a machine that emulates nothing.
    assert!(!installation.run_ok(&["cp", "arm:/etc/debian_version", "-"]).is_empty());
}

#[test]
fn set_user_id_counts_and_the_emulator_is_not_in_the_container() {
    let installation = installation();
    let script = "echo /*; busybox grep -c emulator /proc/mounts; ls /proc/sys/fs/binfmt_misc";
    let own = ["run", "--rm", "--platform", "linux/arm64", IMAGE, "bash", "-c", script];
    let text = installation.container(&own).expect_code(0).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0].contains("emulator"), lines[1]), (2, false, "0"), "{text}");
    let script = "cp /usr/bin/id /tmp/as-root; chmod 4755 /tmp/as-root; \
                  exec python3 -c 'import os; os.setuid(1000); os.execv(\"/tmp/as-root\", [\"id\", \"-u\"])'";
    let run = ["run", "--rm", "--platform", "linux/arm64", IMAGE, "bash", "-c", script];
    assert_eq!(installation.run_ok(&run), "0");
}

#[test]
fn foreign_programs_run_beside_others_with_rosetta_alone() {
    let installation = installation();
    installation.load(&installation.demo_archive());
    let folder = installation.folder().join("foreign");
    fs::create_dir(&folder).unwrap();
    let share = format!("{}:/foreign", folder.display());
    for architecture in ["arm64", "s390x"] {
        let (platform, copy) = (format!("linux/{architecture}"), format!("/foreign/busybox-{architecture}"));
        let run = ["run", "--rm", "-v", &share, "--platform", &platform, IMAGE];
        installation.run_ok(&[&run[..], &["busybox", "cp", "/usr/bin/busybox", &copy]].concat());
    }
    let machines = ["sh", "-c", "uname -m; /foreign/busybox-arm64 uname -m; /foreign/busybox-s390x uname -m"];
    let run = ["run", "--rm", "-v", &share];
    assert_eq!(
        installation.run_ok(&[&run[..], &["--rosetta", "demo"], &machines].concat()),
        "x86_64\naarch64\ns390x"
    );
    let refused = installation.container(&[&run[..], &["demo", "/foreign/busybox-arm64", "uname"]].concat());
    assert_eq!(refused.code, 126, "{refused:?}");
}

#[test]
fn what_cannot_run_is_told_before_anything_is_made() {
    let installation = installation();
    let missing = installation.container(&["run", "--platform", "linux/sparc64", IMAGE, "true"]);
    assert_eq!(missing.code, 125, "{missing:?}");
    assert!(
        missing.stderr.contains("does not provide the specified platform (linux/sparc64)"),
        "{missing:?}"
    );
    // No platform is asked for, and the image has none for this machine.
    let unnamed = installation.container(&["run", IMAGE, "true"]);
    assert_eq!(unnamed.code, 125, "{unnamed:?}");
    assert!(unnamed.stderr.contains("--platform"), "{unnamed:?}");
    assert!(installation.ids().is_empty());
}

#[test]
fn only_the_platform_that_is_asked_for_is_pulled() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    registry.push(&installation.foreign_archive(), IMAGE);
    let reference = registry.reference(IMAGE);
    let run = ["run", "--rm", "--platform", "linux/riscv64", &reference, "busybox", "uname", "-m"];
    assert_eq!(installation.run_ok(&run), "riscv64");
    let inspected = installation.run_ok(&["image", "inspect", &reference]);
    assert!(inspected.contains("riscv64") && !inspected.contains("s390x"), "{inspected}");
}
