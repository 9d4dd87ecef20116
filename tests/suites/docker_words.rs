//! Flags and words of Docker: each is taken, or told in a line with what there is instead.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::fs;
use std::process::Stdio;

use bulkhead_tests::Installation;
use bulkhead_tests::flags::{refused, run};

#[test]
fn every_flag_of_docker_run_is_taken_or_told_what_there_is_instead() {
    let installation = Installation::with_demo();
    // What is so anyway.
    let flags = [
        "--ipc=private",
        "--cgroupns",
        "private",
        "--userns=host",
        "--pid=",
        "--uts=",
        "--isolation",
        "default",
        "--oom-score-adj=0",
        "--oom-kill-disable=false",
        "--memory",
        "512m",
        "--memory-swap",
        "512m",
        "--memory-swappiness",
        "-1",
        "--volume-driver",
        "local",
        "--link",
        "db",
        "--link=db:db",
        "--disable-content-trust",
        "--domainname",
        "example.test",
        "--blkio-weight",
        "0",
    ];
    assert_eq!(run(&installation, &flags, "cat /proc/sys/kernel/domainname"), "example.test");
    for (flag, word) in [
        ("--device=/dev/kvm", "'--device /dev/kvm' is not available: a container has a kernel of its own"),
        ("--device=/dev/fuse:/dev/other", "under these names"),
        ("--network=container:web", "cannot be shared"),
        ("--mount=type=volume,dst=/v,volume-opt=size=1g", "container volume create"),
        ("--volume=/tmp:/t:rslave", "mounts later within a folder"),
        ("--gpus=all", "no device of this host"),
        ("--pid=host", "container top"),
        ("--ipc=host", "--shm-size"),
        ("--uts=host", "--hostname"),
        ("--userns=keep-id", "--user"),
        ("--memory-swap=-1", "no swap"),
        ("--cpuset-cpus=0-3", "--cpus"),
        ("--cpu-shares=512", "--cpus"),
        ("--link=db:mysql", "--network-alias"),
        ("--oom-kill-disable", "'--oom-kill-disable' is not available: "),
        ("--use-api-socket", "no way to the container services"),
        ("--storage-opt=size=1G", "diskSize"),
        ("--volume-driver=nfs", "type=shared"),
        ("--annotation=a=b", "--label"),
    ] {
        refused(&installation, &[flag], 64, word);
    }
    // As docker/cli documents them: none is unknown, and help has none that is only refused.
    let documented = [
        "annotation",
        "blkio-weight",
        "blkio-weight-device",
        "cgroup-parent",
        "cgroupns",
        "cpu-count",
        "cpu-percent",
        "cpu-period",
        "cpu-quota",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "cpu-shares",
        "cpuset-cpus",
        "cpuset-mems",
        "device-cgroup-rule",
        "device-read-bps",
        "device-read-iops",
        "device-write-bps",
        "device-write-iops",
        "gpus",
        "io-maxbandwidth",
        "io-maxiops",
        "ipc",
        "isolation",
        "kernel-memory",
        "link",
        "link-local-ip",
        "memory-reservation",
        "memory-swap",
        "memory-swappiness",
        "oom-score-adj",
        "pid",
        "storage-opt",
        "userns",
        "uts",
        "volume-driver",
    ];
    for command in ["run", "create"] {
        let help = installation.run_ok(&[command, "--help"]);
        for name in documented {
            let outcome = installation.container(&[command, &format!("--{name}"), "", "demo", "true"]);
            assert!(!outcome.stderr.contains("unknown option"), "{name}: {outcome:?}");
            assert!(!help.contains(&format!("--{name} ")), "{name} in {help}");
        }
    }
    for id in installation.ids() {
        installation.run_ok(&["delete", &id]);
    }
}

#[test]
fn words_of_docker_beside_run_are_understood_or_told() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "made", "demo", "true"]);
    for words in [
        &["container", "ls", "-aq"][..],
        &["logs", "--details", "made"],
        &["inspect", "--type", "container", "-f", "{{.id}}", "made"],
        &["stop", "-t", "-1", "made"],
        &["cp", "-q", "/etc/hostname", "made:/tmp/x"],
    ] {
        let _ = installation.container(words).expect_code(0);
    }
    for words in [
        &["volume", "create", "-d", "local", "-o", "type=shared", "named"][..],
        &["volume", "rm", "-f", "named", "nobody"],
        &["network", "create", "-d", "bridge", "--attachable", "-o", "mtu=1400", "named"],
        &["network", "rm", "-f", "named", "nobody"],
    ] {
        let _ = installation.container(words).expect_code(0);
    }
    let _ = installation.container(&["network", "create", "-d", "macvlan", "other"]).expect_code(64);
    let _ = installation.container(&["volume", "rm", "nobody"]).expect_code(1);
    for (words, instead) in [
        (&["ps", "-s"][..], "'--size' is not available: how much of this host's disk"),
        (&["inspect", "--type=image", "demo"], "container image inspect"),
        (&["compose", "up"], "started one by one"),
        (&["search", "demo"], "container image pull NAME"),
    ] {
        let outcome = installation.container(words).expect_code(64);
        assert!(outcome.stderr.contains(instead), "{outcome:?}");
    }
}

#[test]
fn shares_of_a_processor_are_bounds() {
    let installation = Installation::with_demo();
    let limit = "cat /sys/fs/cgroup/cpu.max";
    assert_eq!(run(&installation, &["--cpus", "0.5"], limit), "50000 100000");
    assert_eq!(run(&installation, &["--cpu-quota=25000", "--cpu-period", "50000"], limit), "50000 100000");
    assert_eq!(
        run(&installation, &["--cpus=2", "--cpu-period=0"], limit),
        run(&installation, &["--cpus=2"], limit)
    );
    let _ = installation.container(&["run", "--rm", "--cpu-quota", "-1", "demo", "true"]).expect_code(0);
    refused(&installation, &["--cpu-quota", "10"], 64, "at least 1000 microseconds");
    refused(&installation, &["--cpus", "0"], 64, "more than no CPU");
    refused(&installation, &["--cpus", "4000000000"], 125, "1024 CPUs at most");
    installation.run_ok(&["create", "--name", "half", "--cpus", "1.5", "demo", "true"]);
    let shown = installation.run_ok(&["inspect", "-f", "{{.HostConfig.NanoCpus}}", "half"]);
    assert_eq!(shown, "1500000000");
    let row = installation.run_ok(&["list", "-a"]);
    assert!(row.lines().any(|row| row.contains(" 1.5 ")), "{row}");
}

#[test]
fn signals_and_streams_are_lent_as_asked_for() {
    let installation = Installation::with_demo();
    let script = "echo out; echo err >&2";
    let only = |streams: &[&str]| {
        let words = [&["run", "--rm"], streams, &["demo", "sh", "-c", script]].concat();
        let outcome = installation.container(&words).expect_code(0);
        (outcome.text(), outcome.stderr)
    };
    assert_eq!(only(&["--attach", "stdout"]), ("out\n".to_owned(), String::new()));
    assert_eq!(only(&["--attach", "STDERR"]), (String::new(), "err\n".to_owned()));
    let _ = installation.container(&["run", "-d", "--attach", "stdout", "demo", "true"]).expect_code(64);
    let nothing = installation.container(&["run", "--attach", "stdin", "demo", "false"]).expect_code(64);
    assert!(nothing.stderr.contains("--attach stdin needs --interactive"), "{nothing:?}");

    let script = "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let words = ["run", "--name", "deaf", "--sig-proxy=false", "demo", "sh", "-c", script];
    let mut client =
        installation.command(&words).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(client.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"ready\n");
    let pid = i32::try_from(client.id()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(143));
    assert_eq!(installation.state("deaf"), "running");
    assert_eq!(installation.run_ok(&["logs", "deaf"]), "ready");
}

#[test]
fn devices_of_the_machine_are_there_for_who_asks() {
    let installation = Installation::with_demo();
    let look = "for d in /dev/fuse /dev/net/tun; do [ -c $d ] && echo $d; done; true";
    assert_eq!(run(&installation, &[], look), "");
    let flags = ["--device", "/dev/net/tun", "--device", "/dev/fuse:/dev/fuse:rwm", "--device", "/dev/null"];
    assert_eq!(run(&installation, &flags, look), "/dev/fuse\n/dev/net/tun");
    assert_eq!(
        run(&installation, &[&flags[..], &["--privileged"]].concat(), look),
        "/dev/fuse\n/dev/net/tun"
    );
    // It opens: with another driver, or none, that fails.
    let flags = ["--device", "/dev/net/tun", "--cap-add", "NET_ADMIN", "-u", "1000"];
    assert_eq!(run(&installation, &flags, "exec 3<>/dev/net/tun && echo open"), "open");
}

#[test]
fn what_docker_says_of_mounts_and_hidden_paths_is_understood() {
    let installation = Installation::with_demo();
    let folder = installation.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "x").unwrap();
    let source = folder.to_str().unwrap();
    for flags in [
        ["--volume", &format!("{source}:/mnt:ro,rprivate,z")],
        [
            "--mount",
            &format!(
                "type=bind,src={source},dst=/mnt,consistency=cached,bind-propagation=rprivate,bind-recursive=enabled"
            ),
        ],
    ] {
        assert_eq!(run(&installation, &flags, "ls /mnt"), "file", "{flags:?}");
    }
    assert_eq!(
        run(
            &installation,
            &["--mount", "src=data,dst=/mnt,volume-driver=local"],
            "echo x >/mnt/y; ls /mnt/y"
        ),
        "/mnt/y"
    );
    // What hides a path, or protects it, is a mount.
    let hidden = "grep -c ' /proc/.' /proc/self/mounts; true";
    assert_ne!(run(&installation, &[], hidden), "0");
    assert_eq!(run(&installation, &["--security-opt", "systempaths=unconfined"], hidden), "0");
    installation.run_ok(&["create", "--name", "patient", "--stop-timeout", "-1", "demo", "true"]);
}
