//! Images that are made of containers and archives, and how images came to be.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, run_with_deadline, skopeo, wait_until};
use serde_json::Value;

fn inspected(installation: &Installation, image: &str) -> Value {
    let mut all: Value = serde_json::from_str(&installation.run_ok(&["image", "inspect", image])).unwrap();
    all[0]["variants"][0]["config"].take()
}

fn history(installation: &Installation, image: &str) -> Vec<Value> {
    let words = ["image", "history", "--format", "json", image];
    serde_json::from_str(&installation.run_ok(&words)).unwrap()
}

/// Names in the layer that a commit added, as tar shows them.
fn newest_layer(installation: &Installation, image: &str) -> Vec<String> {
    let folder = installation.folder().join("saved");
    let path = folder.with_extension("tar");
    installation.run_ok(&["image", "save", "-o", path.to_str().unwrap(), image]);
    skopeo(&["copy", "-q", &format!("oci-archive:{}", path.display()), &format!("dir:{}", folder.display())]);
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let digest =
        manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    let layer = folder.join(digest.trim_start_matches("sha256:"));
    let listed = run_with_deadline(Command::new("tar").arg("-tzf").arg(layer), b"").expect_code(0);
    fs::remove_dir_all(folder).unwrap();
    fs::remove_file(path).unwrap();
    listed.text().lines().map(str::to_owned).collect()
}

#[test]
fn a_commit_is_what_the_container_changed() {
    let installation = Installation::with_debian();
    let script = "set -e; rm /etc/issue; rm -r /usr/share/perl5; mkdir -p /usr/share/perl5/Debconf; \
                  echo mine >/usr/share/perl5/mine; mkdir -p -m 700 /new/deep; echo one >/new/a; ln /new/a /new/b; \
                  ln -s a /new/c; truncate -s 64M /new/sparse; mkfifo /new/fifo; mknod /new/null c 1 3; \
                  chown 7:8 /new/a; chmod 4755 /new/a; mkdir /etc/quiet; rmdir /etc/quiet; echo x >/new/.wh.odd; \
                  cp /bin/true /new/capable; mkdir /data/sub; echo volume >/data/sub/file; \
                  perl -e 'use Socket; socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"/new/socket\"))'";
    let run = ["run", "-d", "--name", "base", "-v", "/data", "-e", "KEPT=1", "-w", "/new", "debian:test"];
    installation
        .run_ok(&[&run[..], &["sh", "-c", &format!("{script}; echo done >/done; sleep 600")]].concat());
    wait_until("the changes", || {
        installation.container(&["exec", "-w", "/", "base", "cat", "/done"]).code == 0
    });
    let setcap = "import os; os.setxattr('/new/capable', 'security.capability', \
                  bytes.fromhex('0100000200040000000000000000000000000000'))";
    installation.run_ok(&["exec", "-w", "/", "base", "python3", "-c", setcap]);

    let commit =
        installation.container(&["commit", "-a", "me", "-m", "first", "base", "made:1"]).expect_code(0);
    let id = commit.text().trim_end().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{commit:?}");
    assert!(commit.stderr.contains("/socket") && commit.stderr.contains(".wh.odd"), "{commit:?}");
    assert_eq!(installation.run_ok(&["exec", "-w", "/", "base", "cat", "/new/b"]), "one", "it goes on");

    let told = installation.run_ok(&["diff", "base"]);
    let is_told = |line: &str| told.lines().any(|known| known.starts_with(line));
    assert!(
        is_told("D /etc/issue")
            && is_told("D /usr/share/perl5/Debconf/")
            && is_told("A /usr/share/perl5/mine")
    );

    let layer = newest_layer(&installation, "made:1");
    for name in ["etc/.wh.issue", "usr/share/perl5/.wh..wh..opq", "new/deep/", "new/b", "new/null", "done"] {
        assert!(layer.iter().any(|known| known == name), "{name}: {layer:?}");
    }
    for name in ["etc/hosts", "proc/", "data/sub", "new/socket", "etc/quiet"] {
        assert!(!layer.iter().any(|known| known.starts_with(name)), "{name}: {layer:?}");
    }

    // What it has is what the container has.
    let look = "cd /; find etc usr/share/perl5 new -xdev ! -name socket ! -name .wh.odd ! -path etc/hosts \
                ! -path etc/hostname ! -path etc/resolv.conf -printf '%p %y %m %U:%G %n %s %l\\n' | sort; \
                stat -c '%t:%T %s' /new/null /new/sparse; md5sum /new/a /usr/share/perl5/mine; \
                python3 -c 'import os; print(os.getxattr(\"/new/capable\", \"security.capability\").hex())'";
    // Directories have sizes of their file systems.
    let sizeless = |text: String| -> Vec<String> {
        let line = |line: &str| match line.split_once(" d ") {
            Some((name, rest)) => format!("{name} {}", rest.split(' ').take(2).collect::<Vec<_>>().join(" ")),
            None => line.to_owned(),
        };
        text.lines().map(line).collect()
    };
    let expected = sizeless(installation.run_ok(&["exec", "base", "sh", "-c", look]));
    let found = sizeless(installation.run_ok(&["run", "--rm", "made:1", "sh", "-c", look]));
    let differ: Vec<_> = expected.iter().zip(&found).filter(|(one, other)| one != other).collect();
    assert!(expected.len() == found.len() && differ.is_empty(), "{differ:?}");

    // Layers of the parent are shared, and the configuration goes on.
    let (before, after) = (inspected(&installation, "debian:test"), inspected(&installation, "made:1"));
    let layers = |config: &Value| config["rootfs"]["diff_ids"].as_array().unwrap().clone();
    assert_eq!(layers(&after)[..layers(&before).len()], layers(&before)[..]);
    assert_eq!(layers(&after).len(), layers(&before).len() + 1);
    assert_eq!(after["author"], "me");
    assert_eq!(after["config"]["WorkingDir"], "/new");
    let variables = after["config"]["Env"].as_array().unwrap();
    assert!(variables.contains(&"KEPT=1".into()), "{variables:?}");
    assert!(!variables.iter().any(|one| one.as_str().unwrap().starts_with("HOSTNAME=")), "{variables:?}");
    assert_eq!(after["config"]["Cmd"][0], "sh");
    let steps = history(&installation, "made:1");
    assert_eq!((&steps[0]["comment"], &steps[0]["id"]), (&"first".into(), &id[7..].into()));
    assert!(steps[0]["createdBy"].as_str().unwrap().starts_with("sh -c set -e"), "{steps:?}");
    assert!((1..32 << 20).contains(&steps[0]["size"].as_u64().unwrap()), "{steps:?}");

    // The same of a stopped one, and of nothing changed.
    installation.run_ok(&["stop", "--time", "0", "base"]);
    let id = installation.run_ok(&["commit", "base"]);
    assert_eq!(layers(&inspected(&installation, &id)).len(), layers(&after).len());
    installation.run_ok(&["create", "--name", "same", "made:1"]);
    installation.run_ok(&["commit", "same", "same"]);
    let same = inspected(&installation, "same");
    assert_eq!(layers(&same), layers(&after));
    assert_eq!(same["history"].as_array().unwrap().last().unwrap()["empty_layer"], true);
}

#[test]
fn a_commit_takes_instructions_and_other_tools_take_it() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "run",
        "--name",
        "base",
        "demo",
        "sh",
        "-c",
        "echo '#!/bin/sh' >/hi; echo 'echo $GREETING $*' >>/hi; chmod +x /hi",
    ]);
    let changes = [
        "ENTRYPOINT [\"/hi\"]",
        "CMD [\"you\"]",
        "ENV GREETING=\"well met\"",
        "LABEL a=b",
        "EXPOSE 80",
        "USER 0:0",
        "WORKDIR /tmp",
        "STOPSIGNAL SIGQUIT",
        "ONBUILD RUN true",
        "VOLUME /v",
        "HEALTHCHECK --interval=5s CMD true",
    ];
    let flags = changes.iter().flat_map(|change| ["-c", change]);
    let words: Vec<&str> =
        ["commit"].into_iter().chain(flags).chain(["base", "localhost:5000/team/hi:1"]).collect();
    installation.run_ok(&words);
    assert_eq!(installation.run_ok(&["run", "--rm", "localhost:5000/team/hi:1"]), "well met you");
    assert_eq!(installation.run_ok(&["run", "--rm", "localhost:5000/team/hi:1", "there"]), "well met there");
    let path = installation.folder().join("hi.tar");
    installation.run_ok(&["image", "save", "-o", path.to_str().unwrap(), "localhost:5000/team/hi:1"]);
    let source = format!("oci-archive:{}", path.display());
    let config: Value =
        serde_json::from_slice(&skopeo(&["inspect", "--config", "--raw", &source]).stdout).unwrap();
    let config = &config["config"];
    for (key, expected) in [
        ("OnBuild", "[\"RUN true\"]"),
        ("ExposedPorts", "{\"80/tcp\":{}}"),
        ("Volumes", "{\"/v\":{}}"),
        ("StopSignal", "\"SIGQUIT\""),
        ("Labels", "{\"a\":\"b\"}"),
        ("WorkingDir", "\"/tmp\""),
        ("Healthcheck", "{\"Interval\":5000000000,\"Test\":[\"CMD-SHELL\",\"true\"]}"),
    ] {
        assert_eq!(config[key].to_string(), expected, "{key}");
    }
    let storage = installation.folder().join("podman");
    let podman = |words: &[&str]| {
        let mut command = Command::new("podman");
        command.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
        command.arg("--runroot").arg(storage.join("run")).args(words);
        run_with_deadline(&mut command, b"").expect_code(0).text()
    };
    podman(&["load", "--quiet", "-i", path.to_str().unwrap()]);
    let shown = podman(&[
        "image",
        "inspect",
        "--format",
        "{{.Config.Entrypoint}} {{len .RootFS.Layers}}",
        "localhost:5000/team/hi:1",
    ]);
    assert!(shown.starts_with("[/hi] "), "{shown}");

    // What was asked for in place of an entrypoint is the new image's, nothing included.
    for (name, entrypoint, expected) in
        [("other", "echo", "[\"echo\"] [\"x\"]"), ("none", "", "[] [\"echo\",\"x\"]")]
    {
        let words: &[&str] = if entrypoint.is_empty() { &["echo", "x"] } else { &["x"] };
        let create = ["create", "--name", name, "--entrypoint", entrypoint, "localhost:5000/team/hi:1"];
        installation.run_ok(&[&create[..], words].concat());
        installation.run_ok(&["commit", name, &format!("local/{name}")]);
        let shown =
            installation.run_ok(&["create", "--name", &format!("{name}-2"), &format!("local/{name}")]);
        let format = "{{json .Config.Entrypoint}} {{json .Config.Cmd}}";
        assert_eq!(installation.run_ok(&["inspect", "-f", format, &shown]), expected);
    }

    let wrong = installation.container(&["commit", "-c", "RUN true", "base"]).expect_code(1);
    assert!(wrong.stderr.contains("'RUN' changes nothing"), "{wrong:?}");
    let nobody = installation.container(&["commit", "nobody", "x"]).expect_code(1);
    assert!(nobody.stderr.contains("nobody"), "{nobody:?}");
}

#[test]
fn f2_f3_what_ends_a_commit_leaves_nothing() {
    let installation = Installation::with_demo();
    let writer =
        "dd if=/dev/urandom of=/big bs=1M count=200; i=0; while :; do i=$((i+1)); echo $i >/count; done";
    installation.run_ok(&["run", "-d", "--name", "busy", "-m", "1g", "demo", "sh", "-c", writer]);
    wait_until("the writer", || installation.container(&["exec", "busy", "test", "-s", "/count"]).code == 0);
    let temporaries =
        || fs::read_dir(installation.folder().join("app/images/tmp")).map_or(0, Iterator::count);
    let images = || installation.run_ok(&["image", "list", "--quiet"]);
    // Until the guest has noticed that the commit is over, it is refused.
    let count = || {
        let mut told = None;
        wait_until("an answer", || {
            let outcome = installation.container(&["exec", "busy", "cat", "/count"]);
            told = (outcome.code == 0).then(|| outcome.text());
            told.is_some()
        });
        told.unwrap()
    };
    let start = || {
        let mut command = installation.command(&["commit", "busy", "half"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the commit", || temporaries() > 0);
        child
    };
    // The client.
    let mut commit = start();
    commit.kill().unwrap();
    commit.wait().unwrap();
    wait_until("the end", || temporaries() == 0);
    let before = count();
    wait_until("the writer goes on", || count() != before);
    // The service.
    let mut commit = start();
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert!(!commit.wait().unwrap().success());
    assert_eq!((images().as_str(), temporaries()), ("docker.io/library/demo:latest", 0));
    let before = count();
    wait_until("the writer goes on", || count() != before);
    // The container.
    let commit = start();
    installation.run_ok(&["kill", "busy"]);
    let outcome = commit.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert!(
        !outcome.status.success() && told.contains("busy") && told.trim_end().lines().count() == 1,
        "{told}"
    );
    assert_eq!((images().as_str(), temporaries()), ("docker.io/library/demo:latest", 0));
    installation.run_ok(&["commit", "busy", "whole"]);
    assert_eq!(installation.run_ok(&["run", "--rm", "whole", "stat", "-c", "%s", "/big"]), "209715200");
}

#[test]
fn a_commit_makes_nobody_unhealthy_and_gives_way_to_a_stop() {
    let installation = Installation::with_demo();
    let script = "trap 'echo bye; exit 9' TERM; dd if=/dev/urandom of=/big bs=1M count=300; touch /ready; \
                  while :; do sleep 0.05; done";
    let health = ["--health-cmd", "test -e /ready", "--health-interval", "100ms", "--health-retries", "1"];
    let start =
        [&["run", "-d", "--name", "busy", "-m", "1g"][..], &health, &["demo", "sh", "-c", script]].concat();
    installation.run_ok(&start);
    let health = || installation.run_ok(&["inspect", "-f", "{{.State.Health.Status}}", "busy"]);
    wait_until("it is healthy", || health() == "healthy");
    let mut command = installation.command(&["commit", "busy", "half"]);
    let commit = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let temporaries =
        || fs::read_dir(installation.folder().join("app/images/tmp")).map_or(0, Iterator::count);
    wait_until("the commit", || temporaries() > 0);
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!((health().as_str(), temporaries()), ("healthy", 1));
    installation.run_ok(&["stop", "--time", "60", "busy"]);
    assert_eq!(installation.run_ok(&["inspect", "-f", "{{.State.ExitCode}}", "busy"]), "9");
    assert!(installation.run_ok(&["logs", "busy"]).ends_with("bye"));
    let outcome = commit.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert!(!outcome.status.success() && told.contains("as 'container stop' does"), "{told}");
    assert_eq!(temporaries(), 0);
}

#[test]
fn an_export_is_imported() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "--name", "base", "demo", "sh", "-c", "echo there >/here"]);
    let path = installation.folder().join("root.tar");
    installation.run_ok(&["export", "-o", path.to_str().unwrap(), "base"]);
    let words = [
        "image",
        "import",
        "-c",
        "CMD [\"cat\", \"/here\"]",
        "-m",
        "moved",
        path.to_str().unwrap(),
        "flat:1",
    ];
    let id = installation.run_ok(&words);
    assert_eq!(installation.run_ok(&["run", "--rm", "flat:1"]), "there");
    let steps = history(&installation, "flat:1");
    assert_eq!((steps.len(), &steps[0]["comment"]), (1, &"moved".into()));
    // The same by a pipe, compressed, by its id.
    let packed = run_with_deadline(Command::new("gzip").arg("-c").arg(&path), b"").expect_code(0).stdout;
    let other = installation.container_with_input(&["image", "import", "-"], &packed).expect_code(0).text();
    assert_ne!(other.trim_end(), id);
    assert_eq!(installation.run_ok(&["run", "--rm", other.trim_end(), "cat", "/here"]), "there");
    let arm = ["image", "import", "--platform", "linux/arm64", path.to_str().unwrap(), "arm"];
    installation.run_ok(&arm);
    assert_eq!(inspected(&installation, "arm")["architecture"], "arm64");

    let bad =
        installation.container_with_input(&["image", "import", "-", "bad"], b"no archive").expect_code(1);
    assert!(bad.stderr.contains("cannot import 'stdin'"), "{bad:?}");
    let packed = run_with_deadline(Command::new("xz").arg("-0c").arg(&path), b"").expect_code(0).stdout;
    let bad = installation.container_with_input(&["image", "import", "-", "bad"], &packed).expect_code(1);
    assert!(bad.stderr.contains("'xz -dc' makes a tar stream of it"), "{bad:?}");
    let _ = installation.container(&["image", "import", "/no/such.tar"]).expect_code(1);
    let elsewhere = installation.container(&["image", "import", "https://example.org/x.tar"]).expect_code(64);
    assert!(elsewhere.stderr.contains("curl"), "{elsewhere:?}");
    assert_eq!(fs::read_dir(installation.folder().join("app/images/tmp")).unwrap().count(), 0);
}

#[test]
fn a_history_is_shown_as_docker_shows_it() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "--name", "base", "demo", "sh", "-c", "head -c 3000000 /dev/urandom >/big"]);
    let id = installation.run_ok(&["commit", "-m", "big", "base", "big"]);
    let mut other = installation.command(&["history", "big"]);
    let other = run_with_deadline(other.env("CONTAINER_DEFAULT_PLATFORM", "linux/arm64"), b"").expect_code(0);
    let table = installation.run_ok(&["history", "big"]);
    assert_eq!(other.text().lines().count(), table.lines().count());
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("IMAGE") && lines[0].contains("CREATED BY"), "{table}");
    assert!(
        lines[1].starts_with(&id[7..19]) && lines[1].contains(" ago ") && lines[1].ends_with("big"),
        "{table}"
    );
    assert!(lines[1].contains("sh -c head") && lines[1].contains("MB"), "{table}");
    assert!(lines[2].starts_with("<missing>"), "{table}");
    let quiet = installation.run_ok(&["image", "history", "-q", "--no-trunc", "big"]);
    assert_eq!(quiet.lines().next().unwrap(), id);
    let words = ["image", "history", "--human=false", "--format", "{{.Size}} {{.CreatedAt}}", "big"];
    let plain = installation.run_ok(&words);
    let size: u64 = plain.split(' ').next().unwrap().parse().unwrap();
    assert!((3_000_000..3_200_000).contains(&size), "{plain}");
    let missing = installation.container(&["history", "nothing"]).expect_code(1);
    assert!(missing.stderr.contains("nothing"), "{missing:?}");
}
