//! Flags of `run`, `create` and `exec`, each by what it does to the container.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::fs;
use std::process::{Command, Stdio};

use bulkhead_tests::flags::{refused, run};
use bulkhead_tests::{Installation, Outcome, run_with_deadline, write_image};

#[test]
fn names_and_hosts() {
    let installation = Installation::with_demo();
    let flags = [
        "--name",
        "web.test",
        "--hostname",
        "front",
        "--add-host",
        "db:10.9.8.7",
        "--add-host",
        "up=host-gateway",
    ];
    let script = "hostname; echo $HOSTNAME; cat /etc/hostname; grep -w db /etc/hosts; ip route | grep ^default; grep -w up /etc/hosts";
    let lines = run(&installation, &flags, script);
    let [name, variable, file, database, route, gateway] = lines.lines().collect::<Vec<_>>()[..] else {
        panic!("{lines}")
    };
    assert_eq!((name, variable, file, database), ("front", "front", "front", "10.9.8.7\tdb"));
    assert_eq!(route.split_whitespace().nth(2), gateway.split_whitespace().next());
    // A name with a domain is known without, too.
    let own = "grep -w my.host.example /etc/hosts | cut -f 2; ping -c 1 -q my >/dev/null && echo up";
    assert_eq!(run(&installation, &["--hostname", "my.host.example"], own), "my.host.example my\nup");
    refused(&installation, &["--network", "none", "--add-host", "up:host-gateway"], 125, "joins no network");
    for (flag, word) in [
        ("--hostname=a b", "host name"),
        ("--add-host=db", "name:address"),
        ("--add-host=db:x", "host-gateway"),
    ] {
        refused(&installation, &[flag], 64, word);
    }
    assert!(installation.ids().is_empty());
}

#[test]
fn resolver_flags() {
    let installation = Installation::with_demo();
    let flags = [
        "--dns",
        "10.1.1.1",
        "--dns",
        "fd00::1",
        "--dns-domain",
        "a.test",
        "--dns-search",
        "b.test",
        "--dns-option",
        "ndots:2",
    ];
    assert_eq!(
        run(&installation, &flags, "cat /etc/resolv.conf"),
        "nameserver 10.1.1.1\nnameserver fd00::1\ndomain a.test\nsearch b.test\noptions ndots:2"
    );
    assert_eq!(run(&installation, &["--no-dns"], "cat /etc/resolv.conf 2>/dev/null; echo end"), "end");
    refused(&installation, &["--no-dns", "--dns", "10.1.1.1"], 64, "--no-dns");
    refused(&installation, &["--dns", "nonsense"], 64, "--dns");
}

#[test]
fn users_and_groups() {
    let installation = Installation::with_demo();
    for (flags, expected) in [
        (&["--uid", "1000"][..], "1000:1000:1000 10"),
        (&["--uid", "7", "--gid", "8"], "7:8:8"),
        // A group alone is one more, and the user stays.
        (&["--gid", "77"], "0:0:0 77"),
        (&["-u", "guest", "--group-add", "5", "--group-add", "root"], "1000:1000:1000 10 0 5"),
    ] {
        let found = run(&installation, flags, "echo $(id -u):$(id -g):$(id -G)");
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split([' ', ':']).map(str::to_owned).collect();
            words[2..].sort();
            words
        };
        assert_eq!(sorted(&found), sorted(expected), "{flags:?}");
    }
    refused(&installation, &["--group-add", "nobody-such"], 125, "nobody-such");
    refused(&installation, &["--group-add", "4294967296"], 125, "4294967296");
    refused(&installation, &["-u", "2147483648"], 125, "2147483648");
    installation.run_ok(&["run", "-d", "--name", "host", "--group-add", "55", "demo", "sleep", "600"]);
    let exec = |flags: &[&str]| {
        installation
            .run_ok(&[&["exec"], flags, &["host", "sh", "-c", "echo $(id -u):$(id -g):$(id -G)"]].concat())
    };
    assert!(exec(&[]).ends_with(" 55"));
    assert_eq!(exec(&["--uid", "7", "--gid", "8"]), "7:8:8");
    assert!(exec(&["--gid", "66"]).contains("66"));
    let outcome = installation.container(&["exec", "-u", "4294967295", "host", "true"]).expect_code(125);
    assert!(outcome.stderr.contains("4294967295"), "{outcome:?}");
}

#[test]
fn capabilities_and_privileges() {
    let installation = Installation::with_demo();
    let set = |flags: &[&str], name: &str| {
        let line = run(&installation, flags, &format!("grep {name} /proc/self/status"));
        line.split_whitespace().last().unwrap().to_owned()
    };
    let own = ["--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "cap_setgid"];
    assert_eq!(set(&own, "CapEff"), "00000000000000c0");
    assert_eq!(set(&["--cap-add", "all", "--cap-drop", "Cap_Sys_Admin"], "CapBnd"), "000001ffffdfffff");
    assert!(run(&installation, &own, "id").starts_with("uid=0"));
    assert_eq!(set(&["--security-opt", "no-new-privileges"], "NoNewPrivs"), "1");
    assert_eq!(set(&[], "NoNewPrivs"), "0");
    // What Docker's word takes away was never there.
    assert_eq!(set(&["--security-opt", "seccomp=unconfined"], "NoNewPrivs"), "0");
    refused(&installation, &["--security-opt", "seccomp=profile.json"], 64, "--cap-drop");
    refused(&installation, &["--security-opt", "fly"], 64, "no-new-privileges");
    refused(&installation, &["--cap-add", "FLY"], 64, "FLY");
    let script = "grep CapEff /proc/self/status; ls /dev/vda; echo 61 > /proc/sys/vm/swappiness; \
                  mkdir /m; mount -t tmpfs x /m && mkdir /sys/fs/cgroup/sub && echo done";
    let lines = run(&installation, &["--privileged"], script);
    assert!(lines.contains("000001ffffffffff\n/dev/vda") && lines.ends_with("done"), "{lines}");

    installation.run_ok(&["run", "-d", "--name", "plain", "demo", "sh", "-c", "mkdir /m; sleep 600"]);
    let mount = ["plain", "mount", "-t", "tmpfs", "x", "/m"];
    assert_ne!(installation.container(&[&["exec"], &mount[..]].concat()).code, 0);
    installation.run_ok(&[&["exec", "--privileged"], &mount[..]].concat());
    let user = installation.run_ok(&[
        "exec",
        "--privileged",
        "-u",
        "guest",
        "plain",
        "grep",
        "CapEff",
        "/proc/self/status",
    ]);
    assert!(user.ends_with("0000000000000000"), "{user}");
}

#[test]
fn every_limit_reaches_the_process() {
    let installation = Installation::with_demo();
    let table = [
        ("core", "Max core file size"),
        ("cpu", "Max cpu time"),
        ("data", "Max data size"),
        ("fsize", "Max file size"),
        ("locks", "Max file locks"),
        ("memlock", "Max locked memory"),
        ("msgqueue", "Max msgqueue size"),
        ("nice", "Max nice priority"),
        ("nofile", "Max open files"),
        ("nproc", "Max processes"),
        ("rss", "Max resident set"),
        ("rtprio", "Max realtime priority"),
        ("rttime", "Max realtime timeout"),
        ("sigpending", "Max pending signals"),
        ("stack", "Max stack size"),
    ];
    // Large enough for a shell to live with.
    let value = |index: usize| (30_000_000 + index as u64, 40_000_000 + index as u64);
    let mut flags = Vec::new();
    for (index, (kind, _)) in table.iter().enumerate() {
        let (soft, hard) = match *kind {
            // fs.nr_open bounds it.
            "nofile" => (100, 200),
            _ => value(index),
        };
        flags.push("--ulimit".to_owned());
        flags.push(format!("{kind}={soft}:{hard}"));
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let found = run(&installation, &flags, "cat /proc/self/limits");
    for (index, (kind, title)) in table.iter().enumerate() {
        let line = found
            .lines()
            .find_map(|line| line.strip_prefix(title))
            .unwrap_or_else(|| panic!("{kind}: {found}"));
        let words: Vec<u64> = line.split_whitespace().take(2).map(|word| word.parse().unwrap()).collect();
        let expected = if *kind == "nofile" { (100, 200) } else { value(index) };
        assert_eq!((words[0], words[1]), expected, "{kind}");
    }
    for unlimited in ["unlimited", "-1"] {
        let flag = format!("core={unlimited}");
        assert_eq!(run(&installation, &["--ulimit", &flag], "ulimit -c"), "unlimited");
    }
    let files = |value: &str| run(&installation, &["--ulimit", &format!("nofile={value}")], "ulimit -n");
    let most = "1048576";
    for unlimited in ["unlimited", "-1", "1048576:unlimited"] {
        assert_eq!(files(unlimited), most);
    }
    assert_eq!(files("2000000"), "2000000");
    refused(&installation, &["--ulimit", "nofile=2147483585"], 125, "nofile can be 2147483584 at most");
    installation.run_ok(&["run", "-d", "--name", "many", "demo", "sleep", "600"]);
    let exec = |value: &str| {
        let flag = format!("nofile={value}");
        installation.run_ok(&["exec", "--ulimit", &flag, "many", "sh", "-c", "ulimit -n"])
    };
    assert_eq!(exec("unlimited"), most);
    assert_eq!(exec("2147483584"), "2147483584");
    installation.run_ok(&["delete", "--force", "many"]);
    refused(&installation, &["--ulimit", "nofile=2:1"], 64, "soft limit");
    refused(&installation, &["--ulimit", "core=1", "--ulimit", "core=2"], 64, "twice");
    refused(&installation, &["--ulimit", "files=1"], 64, "files");
    assert_eq!(run(&installation, &["--pids-limit", "20"], "cat /sys/fs/cgroup/pids.max"), "20");
    assert_eq!(run(&installation, &["--pids-limit", "-1"], "cat /sys/fs/cgroup/pids.max"), "max");
    refused(&installation, &["--pids-limit", "-2"], 64, "-2");
}

#[test]
fn working_directories() {
    let installation = Installation::with_demo();
    assert_eq!(run(&installation, &["-w", "/new/place"], "pwd"), "/new/place");
    assert_eq!(run(&installation, &["-w", ""], "pwd"), "/");
    refused(&installation, &["-w", "relative"], 64, "'relative' is not an absolute path");
    installation.run_ok(&["run", "-d", "--name", "box", "-w", "/tmp", "demo", "sleep", "600"]);
    assert_eq!(installation.run_ok(&["exec", "-w", "", "box", "pwd"]), "/tmp");
    let outcome = installation.container(&["exec", "--workdir", "tmp", "box", "pwd"]).expect_code(64);
    assert!(outcome.stderr.contains("'tmp' is not an absolute path"), "{outcome:?}");
}

#[test]
fn environment_files_may_be_pipes() {
    let installation = Installation::with_demo();
    let file = installation.folder().join("environment");
    fs::write(&file, "# comment\nA=from file\nB=from file\n").unwrap();
    let pipe = installation.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "C=from pipe\n").unwrap()
    });
    let flags =
        ["--env-file", file.to_str().unwrap(), "--env-file", pipe.to_str().unwrap(), "-e", "B=from flag"];
    assert_eq!(run(&installation, &flags, "echo $A, $B, $C"), "from file, from flag, from pipe");
    writer.join().unwrap();
    refused(&installation, &["--env-file", "/no/such/file"], 64, "/no/such/file");
}

#[test]
fn labels_come_from_files_too_and_a_quiet_pull_shows_nothing() {
    let installation = Installation::with_demo();
    let file = installation.folder().join("labels");
    fs::write(&file, "# comment\na=of file\nb=of file\nbare\n").unwrap();
    let flags = ["--label-file", file.to_str().unwrap(), "--label", "b=of flag", "--name", "labelled"];
    installation.run_ok(&[&["create", "--quiet"], &flags[..], &["demo"]].concat());
    let labels = installation.snapshot("labelled")["configuration"]["labels"].take();
    assert_eq!(labels, serde_json::json!({"a": "of file", "b": "of flag", "bare": ""}));
    refused(&installation, &["--label-file", "/no/such/file"], 64, "/no/such/file");
    fs::write(&file, "a=1\n=2\n").unwrap();
    refused(&installation, &["--label-file", file.to_str().unwrap()], 64, "line 2");
}

#[test]
fn hidden_paths_mounts_and_kernel_parameters() {
    let installation = Installation::with_demo();
    assert_eq!(
        run(&installation, &["--masked-path", "/etc/passwd"], "cat /etc/passwd; cat /proc/keys; echo end"),
        "end"
    );
    let none = ["--masked-path", "NONE", "--read-only-path", "NONE"];
    assert_eq!(
        run(
            &installation,
            &none,
            "grep -c . /proc/keys >/dev/null; echo 61 > /proc/sys/vm/swappiness; cat /proc/sys/vm/swappiness"
        ),
        "61"
    );
    assert_eq!(
        run(&installation, &["--read-only-path", "/etc"], "touch /etc/x 2>/dev/null || echo refused"),
        "refused"
    );
    refused(&installation, &["--masked-path", "relative"], 64, "relative");
    assert_eq!(
        run(&installation, &["--sysctl", "net.core.somaxconn=77"], "cat /proc/sys/net/core/somaxconn"),
        "77"
    );
    refused(&installation, &["--sysctl", "no.such.parameter=1"], 125, "no.such.parameter");
    refused(&installation, &["--sysctl", "nonsense"], 64, "nonsense");
    let mounts = run(
        &installation,
        &["--shm-size", "20m", "--tmpfs", "/t:size=5m,mode=700,noexec"],
        "grep -E ' (/t|/dev/shm) ' /proc/mounts; stat -c %a /t",
    );
    assert!(mounts.contains("size=20480k") && mounts.contains("size=5120k"), "{mounts}");
    assert!(mounts.contains("noexec") && mounts.ends_with("700"), "{mounts}");
    let options = "/t:uid=1000,gid=100,size=25%,nr_inodes=2k,suid,dev,exec,noatime,sync,mode=750";
    let mounts = run(
        &installation,
        &["--memory", "400m", "--tmpfs", options],
        "grep ' /t ' /proc/mounts; stat -c %u:%g:%a /t",
    );
    for word in ["noatime", "sync", "nr_inodes=2048", "uid=1000", "gid=100", "1000:100:750"] {
        assert!(mounts.contains(word), "{word}: {mounts}");
    }
    let size = mounts.split_once("size=").and_then(|(_, rest)| rest.split_once('k')).unwrap().0;
    assert!((100 << 10..200 << 10).contains(&size.parse::<u64>().unwrap()), "{mounts}");
    let flags = "/t:defaults,rw,async,dirsync,mand,nomand,atime,diratime,nodiratime,relatime,norelatime,\
                 strictatime,nostrictatime,nosuid,nodev,noexec,nr_blocks=10";
    let mounts = run(&installation, &["--tmpfs", flags], "grep ' /t ' /proc/mounts");
    assert!(mounts.contains("dirsync,nosuid,nodev,noexec,") && mounts.contains("size=40k"), "{mounts}");
    refused(&installation, &["--tmpfs", "/t:colour=red"], 64, "colour");
    for flags in [
        ["--tmpfs", "/t", "-v", "/etc:/t/"],
        ["--tmpfs", "/t", "--tmpfs", "/t:ro"],
        ["-v", "one:/t", "--mount", "type=volume,src=two,dst=//t"],
    ] {
        refused(&installation, &flags, 125, "duplicate mount point");
    }
}

#[test]
fn kernels_and_their_arguments() {
    let installation = Installation::with_demo();
    let line = |flags: &[&str]| run(&installation, flags, "cat /proc/cmdline");
    assert!(line(&[]).contains(" oops=panic "));
    let own = line(&["--kernel-arg", "oops=continue", "--kernel-arg", "a=1", "--kernel-arg", "a=2"]);
    assert!(own.contains(" oops=continue a=1 a=2") && !own.contains("oops=panic"), "{own}");
    refused(&installation, &["--kernel-arg", "mem=16M"], 125, "mem=16M");
    let command = installation.command(&[]);
    let tree = std::path::Path::new(command.get_program()).ancestors().nth(2).unwrap();
    let kernel = installation.folder().join("kernel");
    fs::copy(tree.join("share/bulkhead/kernel-uml"), &kernel).unwrap();
    assert_eq!(run(&installation, &["--kernel", kernel.to_str().unwrap()], "echo up"), "up");
    refused(&installation, &["--kernel", "/no/such/kernel"], 125, "/no/such/kernel");
    refused(&installation, &["--kernel", "/etc/passwd"], 125, "/etc/passwd");
    assert!(installation.ids().is_empty());
}

#[test]
fn an_init_image_brings_its_own_vminitd() {
    let installation = Installation::with_demo();
    let command = installation.command(&[]);
    let tree = std::path::Path::new(command.get_program()).ancestors().nth(2).unwrap();
    let archive = fs::File::open(tree.join("share/bulkhead/initramfs.cpio")).unwrap();
    let unpacked = Command::new("cpio")
        .args(["--extract", "--to-stdout", "--quiet", "init"])
        .stdin(Stdio::from(archive))
        .output()
        .expect("cpio is missing: apt-get install cpio");
    let mut vminitd = unpacked.stdout;
    // Another one, which can be told by its words.
    let (words, other) = (b"unable to find user ", b"searched for a user ");
    let place = vminitd.windows(words.len()).position(|window| window == words).expect("the message");
    vminitd[place..place + words.len()].copy_from_slice(other);
    let (folder, architecture) = (installation.folder().to_owned(), "amd64");
    installation.load(&write_image(&folder, "init", architecture, &[("sbin/vminitd", &vminitd)]));
    installation.load(&write_image(&folder, "script", architecture, &[("sbin/vminitd", b"#!/bin/sh\n")]));
    let flags = ["--init-image", "init"];
    assert_eq!(run(&installation, &flags, "echo up"), "up");
    refused(
        &installation,
        &["--init-image", "init", "-u", "nobody-such"],
        125,
        "searched for a user nobody-such",
    );
    refused(&installation, &["-u", "nobody-such"], 125, "unable to find user nobody-such");
    refused(&installation, &["--init-image", "demo"], 125, "no /sbin/vminitd");
    refused(&installation, &["--init-image", "script"], 125, "is no init of a guest");
    // The image stays as long as a container boots from it.
    installation.run_ok(&["create", "--name", "kept", "--init-image", "init", "demo", "echo", "kept"]);
    let refused = installation.container(&["image", "delete", "--force", "init"]).expect_code(1);
    assert!(refused.stderr.contains("is used by container 'kept'"), "{refused:?}");
    assert_eq!(installation.run_ok(&["start", "--attach", "kept"]), "kept");
    assert_eq!(
        installation.snapshot("kept")["configuration"]["initImage"]["reference"],
        "docker.io/library/init:latest"
    );
}

#[test]
fn an_image_without_the_platform_is_told_in_one_line() {
    let installation = Installation::with_demo();
    installation.load(&write_image(installation.folder(), "foreign", "s390x", &[("true", b"x")]));
    let told = |outcome: &Outcome, words: &[&str]| {
        let line = outcome.stderr.lines().find(|line| line.starts_with("Error: ")).unwrap();
        assert!(words.iter().all(|word| line.contains(word)), "{outcome:?}");
        assert!(!outcome.stderr.contains("Pulling"), "nothing was pulled: {outcome:?}");
    };
    let words = ["does not provide the specified platform (linux/arm64), only: linux/amd64"];
    told(
        &installation.container(&["run", "--rm", "--platform", "linux/arm64", "demo"]).expect_code(125),
        &words,
    );
    told(&installation.container(&["run", "--rm", "--arch", "arm64", "demo"]).expect_code(125), &words);
    told(&installation.container(&["run", "--rm", "foreign"]).expect_code(125), &["only: linux/s390x"]);
    let mut command = installation.command(&["run", "--rm", "demo", "true"]);
    command.env("CONTAINER_DEFAULT_PLATFORM", "linux/arm64");
    told(&run_with_deadline(&mut command, b"").expect_code(125), &words);
    // trap 9: an explicit flag beats the environment.
    let mut command =
        installation.command(&["run", "--rm", "--platform", "linux/amd64", "demo", "echo", "flag"]);
    command.env("CONTAINER_DEFAULT_PLATFORM", "linux/arm64");
    assert_eq!(run_with_deadline(&mut command, b"").expect_code(0).text(), "flag\n");
    assert!(installation.ids().is_empty());
}

#[test]
fn labels_and_the_file_of_the_id() {
    let installation = Installation::with_demo();
    let file = installation.folder().join("id");
    let file = file.to_str().unwrap();
    let id = installation.run_ok(&["create", "--cidfile", file, "-l", "a=1", "--label", "b", "demo", "true"]);
    assert_eq!(fs::read_to_string(file).unwrap().trim_end(), id);
    let labels = &installation.snapshot(&id)["configuration"]["labels"];
    assert_eq!((labels["a"].as_str(), labels["b"].as_str()), (Some("1"), Some("")));
    refused(&installation, &["--label", "a=b=c"], 64, "a=b=c");
    refused(&installation, &["--cidfile", file], 125, file);
    assert_eq!(installation.ids(), [id]);
}
