//! Bad input: one clear line, the right exit code, nothing left.

use bulkhead_tests::{Installation, Outcome};

fn one_line(outcome: &Outcome, words: &[&str]) {
    assert!(outcome.stderr.starts_with("Error: "), "{outcome:?}");
    let lines = outcome.stderr.lines().filter(|line| !line.starts_with("hint: ")).count();
    assert_eq!(lines, 1, "{outcome:?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word} is not in {outcome:?}");
    }
}

#[test]
fn too_little_memory_is_refused() {
    let installation = Installation::with_demo();
    let outcome = installation.container(&["run", "--rm", "--memory", "10m", "demo", "true"]);
    assert_ne!(outcome.code, 0);
    one_line(&outcome, &["200"]);
    assert!(installation.ids().is_empty());
}

#[test]
fn a_name_in_use_is_refused() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "taken", "demo", "true"]);
    one_line(
        &installation.container(&["create", "--name", "taken", "demo", "true"]).expect_code(1),
        &["taken", "exists"],
    );
    one_line(
        &installation.container(&["run", "--name", "taken", "demo", "true"]).expect_code(125),
        &["taken"],
    );
    assert_eq!(installation.ids(), ["taken"]);
}

#[test]
fn f52_hostile_names_are_refused() {
    let installation = Installation::with_demo();
    let long = "x".repeat(300);
    for name in ["..", "a/b", "-dash", "x", "é…", "a\nb", "\u{1b}[31mred", long.as_str()] {
        let flag = format!("--name={name}");
        let outcome = installation.container(&["create", &flag, "demo", "true"]);
        assert_ne!(outcome.code, 0, "{name:?} was accepted");
        assert!(!outcome.stderr.contains('\u{1b}'), "{outcome:?}");
    }
    assert!(installation.ids().is_empty());
}

#[test]
fn an_unknown_container_is_named() {
    let installation = Installation::new();
    for verb in ["start", "stop", "kill", "delete", "inspect", "logs"] {
        let outcome = installation.container(&[verb, "nobody"]).expect_code(1);
        assert!(outcome.stderr.contains("nobody"), "{verb}: {outcome:?}");
    }
}

#[test]
fn broken_archives_are_refused() {
    let installation = Installation::new();
    let folder = installation.folder().to_owned();
    let cases: [(&str, &[u8]); 3] = [("empty", b""), ("text", b"this is no archive"), ("zeros", &[0; 4096])];
    for (name, contents) in cases {
        let path = folder.join(name);
        std::fs::write(&path, contents).unwrap();
        let outcome = installation.container(&["image", "load", "-i", path.to_str().unwrap()]).expect_code(1);
        assert!(outcome.stderr.contains("Error: "), "{name}: {outcome:?}");
    }
    let outcome = installation.container(&["image", "load", "-i", "/no/such/file"]).expect_code(1);
    assert!(outcome.stderr.contains("/no/such/file"), "{outcome:?}");
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "");
}

#[test]
fn usage_errors_end_with_64_and_need_no_daemon() {
    let installation = Installation::new();
    for words in [
        &["run"][..],
        &["run", "--no-such-flag", "demo"],
        &["run", "--memory", "lots", "demo"],
        &["help", "nonsense"],
    ] {
        let outcome = installation.container(words);
        assert_eq!(outcome.code, 64, "{words:?}: {outcome:?}");
    }
    assert!(installation.pids("container-apiserver").is_empty());
}

/// Whatever a container puts there is read with a bound, and root can put it right.
#[test]
fn f49_what_is_no_user_file_neither_hangs_nor_keeps_root_out() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "odd", "demo", "sleep", "600"]);
    for made in [
        "mkfifo /etc/passwd",
        "mkdir /etc/passwd",
        "ln -s /proc/kmsg /etc/passwd",
        "ln -s passwd /etc/passwd",
        "dd if=/dev/zero of=/etc/passwd bs=1 count=0 seek=10G 2>/dev/null",
    ] {
        installation.run_ok(&["exec", "odd", "sh", "-c", &format!("rm -rf /etc/passwd; {made}")]);
        let refused = installation.container(&["exec", "-u", "nobody", "odd", "true"]).expect_code(125);
        one_line(&refused, &["passwd"]);
        assert_eq!(installation.run_ok(&["exec", "odd", "echo", "in"]), "in", "{made}");
    }
    let mend = "rm -f /etc/passwd; echo nobody:x:33:33::/: > /etc/passwd";
    installation.run_ok(&["exec", "odd", "sh", "-c", mend]);
    assert_eq!(installation.run_ok(&["exec", "-u", "nobody", "odd", "id", "-u"]), "33");
}

/// What Docker allows works, but for a mount over all devices.
#[test]
fn nothing_is_mounted_over_proc_and_dev() {
    let installation = Installation::with_demo();
    let folder = installation.folder().join("mine");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "mine\n").unwrap();
    for destination in ["/proc", "/proc/", "/proc/self", "/proc/sys"] {
        let volume = format!("{}:{destination}", folder.display());
        let refused = installation.container(&["create", "-v", &volume, "demo", "true"]).expect_code(1);
        one_line(&refused, &[destination, "/proc belongs to the container's kernel"]);
        let refused = installation.container(&["create", "--tmpfs", destination, "demo", "true"]);
        assert_ne!(refused.code, 0, "{refused:?}");
    }
    assert!(installation.ids().is_empty());
    let devices = format!("{}:/dev", folder.display());
    let refused = installation.container(&["create", "-v", &devices, "demo", "true"]).expect_code(1);
    one_line(&refused, &["'/dev'", "the container's devices are there"]);
    for (source, destination, shown) in [
        (folder.clone(), "/sys", "/sys/file"),
        (folder.clone(), "/dev/mine", "/dev/mine/file"),
        (folder.join("file"), "/proc/uptime", "/proc/uptime"),
    ] {
        let volume = format!("{}:{destination}", source.display());
        assert_eq!(installation.run_ok(&["run", "--rm", "-v", &volume, "demo", "cat", shown]), "mine");
    }
}

#[test]
fn an_unknown_user_is_named() {
    let installation = Installation::with_demo();
    let outcome =
        installation.container(&["run", "--rm", "-u", "nobody-such", "demo", "true"]).expect_code(125);
    one_line(&outcome, &["nobody-such"]);
    assert!(installation.ids().is_empty());
}
