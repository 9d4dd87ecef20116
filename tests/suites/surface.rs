//! What scripts rely on: which stream, which code, how often, in which order; numbered as the traps of
//! the compatible command line.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::process::Stdio;

use bulkhead_tests::{Installation, Outcome, TerminalCommand, run_with_deadline, wait_until};

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.text().lines().map(str::to_owned).collect()
}

#[test]
fn trap1_bulk_verbs_act_on_every_id_and_fail_if_one_does() {
    let installation = Installation::with_demo();
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    installation.run_ok(&["run", "-d", "--name", "slow", "demo", "sh", "-c", deaf]);
    installation.run_ok(&["run", "-d", "--name", "quick", "demo", "sleep", "600"]);

    // In the order of the arguments, however long each takes.
    let killed = installation.container(&["kill", "-s", "USR1", "slow", "nobody", "quick"]).expect_code(1);
    assert_eq!(lines(&killed), ["slow", "quick"]);
    assert_eq!(killed.stderr.matches("Error: ").count(), 1, "{killed:?}");
    assert!(killed.stderr.contains("nobody"), "{killed:?}");

    // In the order in which they end, each once, however often it is named.
    installation.run_ok(&["delete", "--force", "quick"]);
    // The first process of a container has to ask for a signal to get it, signal(7).
    let polite = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    installation.run_ok(&["run", "-d", "--name", "quick", "demo", "sh", "-c", polite]);
    wait_until("the trap", || installation.run_ok(&["logs", "quick"]) == "ready");
    let stopped = installation.container(&["stop", "-t", "5", "slow", "quick", "slow"]).expect_code(0);
    assert_eq!(lines(&stopped), ["quick", "slow"]);

    for verb in ["stop", "kill", "delete"] {
        let none = installation.container(&[verb]).expect_code(1);
        let both = installation.container(&[verb, "--all", "quick"]).expect_code(1);
        assert!(none.stdout.is_empty() && both.stdout.is_empty(), "{none:?} {both:?}");
    }
    assert_eq!(installation.ids().len(), 2, "nothing was deleted by a mistake");

    // Both are told: what was not there, and that the others could not be.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let outcome = installation.command(&["stop", "quick", "nobody"]).stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(1));
    assert!(told.contains("'nobody'") && told.contains("cannot write to stdout"), "{told}");
    // Of `run` it is a failure of its own, as any other.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let outcome = installation.command(&["run", "-d", "--rm", "demo", "true"]).stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.code() == Some(125) && told.contains("cannot write to stdout"), "{outcome:?}");

    // Without force, --all leaves out what runs.
    installation.run_ok(&["start", "quick"]);
    assert_eq!(installation.run_ok(&["delete", "--all"]), "slow");
    assert_eq!(installation.ids(), ["quick"]);
    assert_eq!(installation.run_ok(&["delete", "--all", "--force"]), "quick");
}

#[test]
fn trap2_mistakes_end_with_64_and_refusals_with_1() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "made", "demo", "true"]);
    for (words, code) in [
        (&["list", "--format", "xml"][..], 64),
        (&["create", "--cpus", "0", "demo"], 64),
        (&["create", "--name", "a/b", "demo"], 64),
        (&["create", "--no-dns", "--dns", "1.1.1.1", "demo"], 64),
        (&["create", "--label", "a=b=c", "demo"], 64),
        (&["image", "list", "-q", "-v"], 64),
        (&["logs", "-n", "many", "made"], 64),
        (&["inspect"], 64),
        (&["no-such-command"], 64),
        (&["create", "--name", "made", "demo"], 1),
        (&["create", "--memory", "10m", "demo"], 1),
        (&["inspect", "nobody"], 1),
        (&["start", "nobody"], 1),
        (&["image", "inspect", "nothing"], 1),
        (&["cp", "/etc/hosts", "/tmp/x"], 1),
    ] {
        let outcome = installation.container(words);
        assert_eq!(outcome.code, code, "{words:?}: {outcome:?}");
        assert!(outcome.stdout.is_empty(), "{words:?}: {outcome:?}");
        assert!(outcome.stderr.contains("Error: "), "{words:?}: {outcome:?}");
    }
    assert_eq!(installation.ids(), ["made"]);
}

#[test]
fn trap3_stdout_is_for_machines() {
    let installation = Installation::new();
    // The first command starts the services, and says so elsewhere.
    let first = installation.container(&["list", "--format", "json"]).expect_code(0);
    assert_eq!(first.text(), "[]\n");
    let archive = installation.demo_archive();
    let loaded = installation.container(&["image", "load", "-i", archive.to_str().unwrap()]).expect_code(0);
    assert_eq!(lines(&loaded).len(), 1, "{loaded:?}");
    assert!(loaded.text().contains("demo:latest"), "{loaded:?}");
    installation.run_ok(&["create", "--name", "made", "demo", "true"]);
    let exported = installation.container(&["export", "made"]).expect_code(0);
    let mut names = Vec::new();
    for entry in tar::Archive::new(exported.stdout.as_slice()).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert!(names.iter().any(|name| name.trim_start_matches("./") == "bin/demo"), "{names:?}");
    let pruned = installation.container(&["prune"]).expect_code(0);
    assert_eq!(pruned.text(), "made\n");
    assert!(pruned.stderr.contains("Reclaimed"), "{pruned:?}");
}

#[test]
fn trap4_an_empty_list_is_a_header_nothing_or_brackets() {
    let installation = Installation::new();
    for (words, header) in [(&["list"][..], "ID "), (&["image", "list"], "NAME ")] {
        let table = installation.container(words).expect_code(0);
        assert!(table.text().starts_with(header) && lines(&table).len() == 1, "{table:?}");
        let quiet = installation.container(&[words, &["--quiet"]].concat()).expect_code(0);
        assert_eq!(quiet.stdout, b"", "not even a newline");
        for (format, expected) in [("json", "[]\n"), ("toml", "items = []\n"), ("yaml", "[]\n")] {
            let quiet = [words, &["--quiet", "--format", format]].concat();
            assert_eq!(installation.container(&quiet).expect_code(0).text(), expected, "{format}");
        }
    }
}

#[test]
fn trap5_and_6_stopped_ones_are_hidden_and_verbs_are_idempotent() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "runs", "demo", "sleep", "600"]);
    installation.run_ok(&["create", "--name", "rests", "demo", "true"]);
    assert_eq!(installation.run_ok(&["list", "--quiet"]), "runs");
    assert_eq!(installation.run_ok(&["stop", "rests"]), "rests");
    assert_eq!(installation.run_ok(&["start", "runs"]), "runs");
    let attached = installation.container(&["start", "--attach", "runs"]);
    assert_ne!(attached.code, 0, "{attached:?}");
    // The forms with --all skip by state.
    assert_eq!(installation.run_ok(&["stop", "--all"]), "runs");
    assert_eq!(installation.container(&["stop", "--all"]).expect_code(0).stdout, b"");
    assert_eq!(installation.container(&["kill", "--all"]).expect_code(0).stdout, b"");
}

#[test]
fn trap7_and_8_a_failed_start_is_an_error_and_leaves_nothing() {
    let installation = Installation::with_demo();
    for (words, code) in [
        (&["run", "-d", "demo", "/no/such/program"][..], 127),
        (&["run", "-d", "--rm", "demo", "/etc/passwd"], 126),
        (&["run", "--rm", "demo", "/no/such/program"], 127),
    ] {
        let outcome = installation.container(words).expect_code(code);
        assert_eq!(outcome.stdout, b"", "{outcome:?}");
        assert!(installation.ids().is_empty(), "{words:?} left a container");
    }
    installation.run_ok(&["run", "-d", "--rm", "--name", "forced", "demo", "sleep", "600"]);
    installation.run_ok(&["kill", "forced"]);
    wait_until("removal after a kill", || installation.ids().is_empty());

    // Ended while nobody served: the next start of the services tidies up.
    installation.run_ok(&["run", "-d", "--rm", "--name", "orphan", "demo", "sleep", "600"]);
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    for pid in installation.pids("container-runtime-linux") {
        installation.kill(pid);
    }
    wait_until("removal by the next start", || installation.ids().is_empty());
    assert_eq!(installation.container_leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn trap12_names_differ_by_case_and_have_up_to_63_characters() {
    let installation = Installation::with_demo();
    let longest = format!("L{}", "x".repeat(62));
    for name in ["web", "Web", "w_e.b-1", longest.as_str()] {
        assert_eq!(installation.run_ok(&["create", "--name", name, "demo", "true"]), name);
    }
    let too_long = format!("{longest}x");
    let _ = installation.container(&["create", "--name", &too_long, "demo", "true"]).expect_code(64);
    installation.run_ok(&["delete", "Web"]);
    assert_eq!(installation.ids().len(), 3);
    assert_eq!(installation.run_ok(&["start", "--attach", &longest]), "");
}

#[test]
fn trap14_one_that_will_not_stop_holds_up_no_other() {
    let installation = Installation::with_demo();
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    installation.run_ok(&["run", "-d", "--name", "deaf", "demo", "sh", "-c", deaf]);
    let mut stop = installation
        .command(&["stop", "--time", "120", "deaf"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the beginning of the stop", || installation.state("deaf") == "stopping");
    // A life of another from begin to end takes place meanwhile.
    installation.run_ok(&["run", "-d", "--name", "other", "demo", "sleep", "600"]);
    assert_eq!(installation.run_ok(&["exec", "other", "echo", "hi"]), "hi");
    installation.run_ok(&["stop", "other"]);
    installation.run_ok(&["delete", "other"]);
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "done"]), "done");
    assert!(stop.try_wait().unwrap().is_none(), "the stop has not ended");
    installation.run_ok(&["kill", "deaf"]);
    assert!(stop.wait().unwrap().success());
}

#[test]
fn f25_unusable_folders_are_told_in_one_line() {
    let installation = Installation::new();
    let long = format!("/tmp/{}", "x".repeat(120));
    let file = installation.folder().join("file");
    std::fs::write(&file, "no folder").unwrap();
    for (variable, value, words) in [
        ("CONTAINER_RUNTIME_ROOT", long.as_str(), "too long"),
        ("CONTAINER_APP_ROOT", "relative", "absolute path"),
        ("CONTAINER_APP_ROOT", file.to_str().unwrap(), "file"),
        ("CONTAINER_LOG_ROOT", "/proc/no/such", "/proc/no/such"),
    ] {
        let mut command = installation.command(&["list"]);
        let outcome = run_with_deadline(command.env(variable, value), b"").expect_code(1);
        let errors = outcome.stderr.lines().filter(|line| line.starts_with("Error: ")).count();
        assert_eq!(errors, 1, "{variable}={value}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{variable}={value}: {outcome:?}");
    }
    // Neither a home nor any folder of XDG is needed when ours are named.
    let mut command = installation.command(&["list", "--quiet"]);
    command.env_remove("HOME").env_remove("XDG_CONFIG_HOME").env_remove("XDG_RUNTIME_DIR");
    let _ = run_with_deadline(&mut command, b"").expect_code(0);
}

#[test]
fn f60_f90_secrets_stay_where_they_belong() {
    use std::os::unix::fs::MetadataExt;
    const SECRET: &str = "not-for-everybody-7319";
    let installation = Installation::with_demo();
    let variable = format!("TOKEN={SECRET}");
    installation.run_ok(&["run", "-d", "--name", "keeper", "-e", &variable, "demo", "sleep", "600"]);
    let refused = installation.container(&["run", "--rm", "-e", &variable, "demo", "/no/such"]);
    assert!(!refused.stderr.contains(SECRET), "{refused:?}");
    // No process of ours shows it to whoever lists processes.
    for program in ["container-apiserver", "container-runtime-linux", "container-network", "linux"] {
        for pid in installation.pids(program) {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&words).contains(SECRET), "{program} {pid}");
        }
    }
    let mut folders = vec![installation.folder().join("app"), installation.folder().join("log")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // A file of a helper that was just put aside or removed.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            assert_eq!(metadata.mode() & 0o077, 0, "{} is open to others", path.display());
            if metadata.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read(&path).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&text).contains(SECRET), "{}", path.display());
            }
        }
    }
}

#[test]
fn f96_arguments_that_are_no_text_are_refused_and_other_locales_change_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let installation = Installation::with_demo();
    let mut command = installation.command(&["run", "--rm", "demo", "echo"]);
    command.arg(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    let outcome = run_with_deadline(&mut command, b"").expect_code(64);
    assert!(outcome.stderr.contains("UTF-8"), "{outcome:?}");

    // Bytes of names in the guest pass as they are.
    let mut command = installation.command(&["run", "--rm", "demo", "printf", "\\377\\000é"]);
    command.env("LC_ALL", "C").env("LANG", "tr_TR.ISO-8859-9").env("TZ", "Asia/Kathmandu");
    assert_eq!(run_with_deadline(&mut command, b"").expect_code(0).stdout, b"\xff\0\xc3\xa9");
    installation.run_ok(&["create", "--name", "made", "demo", "true"]);
    let mut command = installation.command(&["list", "--all", "--format", "json"]);
    let outcome = run_with_deadline(command.env("TZ", "Asia/Kathmandu").env("LC_ALL", "C"), b"");
    assert!(outcome.text().contains('Z') && !outcome.text().contains("+05:45"), "{outcome:?}");
}

#[test]
fn no_color_means_no_color() {
    let installation = Installation::new();
    let archive = installation.demo_archive();
    for words in
        [&["--help"][..], &["image", "load", "-i", archive.to_str().unwrap()], &["list"], &["nonsense"]]
    {
        let mut command = installation.command(words);
        command.env("NO_COLOR", "1").env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1");
        let (_, stdout, stderr) = TerminalCommand::spawn(&mut command).finish();
        for text in [stdout, stderr] {
            // Select Graphic Rendition, ECMA-48 8.3.117: ESC [ … m
            let mut sequences = text.split("\u{1b}[").skip(1);
            assert!(
                sequences.all(|rest| !rest
                    .trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
                    .starts_with('m')),
                "{words:?}: {text:?}"
            );
        }
    }
}

#[test]
fn words_of_docker_that_mean_the_same_are_understood() {
    let installation = Installation::with_demo();
    installation.run_ok(&[
        "create",
        "--name",
        "made",
        "--net",
        "none",
        "--dns-opt",
        "ndots:2",
        "demo",
        "true",
    ]);
    let configuration = installation.snapshot("made")["configuration"].take();
    assert!(configuration["networks"].as_array().unwrap().is_empty(), "{configuration}");
    assert_eq!(configuration["dns"]["options"][0], "ndots:2");
    assert_eq!(installation.run_ok(&["ps", "-aq", "--no-trunc", "-f", "name=mad"]), "made");
    installation.run_ok(&["run", "-d", "--name", "runs", "demo", "sleep", "600"]);
    installation.run_ok(&["stop", "--timeout", "0", "runs"]);
    // Help shows the compatible words alone.
    assert!(!installation.run_ok(&["list", "--help"]).contains("no-trunc"));
    installation.run_ok(&[
        "run",
        "--rm",
        "--rm=true",
        "--interactive=false",
        "--name=no",
        "--name",
        "yes",
        "demo",
        "true",
    ]);
    // A terminal for the process, though this command has none.
    let terminal = installation.run_ok(&["run", "-t", "--rm", "demo", "tty"]);
    assert!(terminal.starts_with("/dev/pts/"), "{terminal}");
    assert!(
        installation.run_ok(&["exec", "-t", &start_unnamed(&installation)[..8], "tty"]).starts_with("/dev/")
    );
    for words in [
        &["prune", "-f"][..],
        &["image", "prune", "-f"],
        &["volume", "prune", "-a", "-f"],
        &["network", "prune", "--force"],
    ] {
        installation.run_ok(words);
    }
}

fn start_unnamed(installation: &Installation) -> String {
    installation.run_ok(&["run", "-d", "demo", "sleep", "600"])
}

#[test]
fn the_beginning_of_an_id_that_nobody_chose_will_do() {
    let installation = Installation::with_demo();
    let [one, other] = [(); 2].map(|()| start_unnamed(&installation));
    installation.run_ok(&["create", "--name", "abcdef", "demo", "true"]);
    assert_eq!(installation.run_ok(&["exec", &one[..13], "echo", "here"]), "here");
    assert_eq!(installation.run_ok(&["kill", &other[..8]]), other[..8]);
    for (begun, code) in [(&one[..3], 1), ("abcde", 1), ("", 64)] {
        let refused = installation.container(&["inspect", begun]);
        assert_eq!(refused.code, code, "{begun}: {refused:?}");
    }
    assert_eq!(installation.state(&one), "running");
}

#[test]
fn words_that_are_elsewhere_are_pointed_at() {
    let installation = Installation::new();
    for (words, meant) in [
        (&["pull", "demo"][..], "container image pull"),
        (&["rmi", "demo"], "container image delete"),
        (&["runn", "demo"], "container run"),
        (&["image", "delte", "demo"], "delete"),
        (&["create", "--cpus", "half", "demo"], "one such as 2 or 0.5"),
    ] {
        let outcome = installation.container(words).expect_code(64);
        assert!(outcome.stderr.contains(meant), "{outcome:?}");
    }
    let never = ["create", "--pull", "never", "--init-image", "nowhere:1", "demo"];
    let installation = Installation::with_demo();
    let outcome = installation.container(&never).expect_code(1);
    assert!(!outcome.stderr.contains("Pulling") && outcome.stderr.contains("nowhere:1"), "{outcome:?}");
}

#[test]
fn debug_tells_of_requests_on_stderr() {
    let installation = Installation::with_demo();
    assert_eq!(installation.container(&["list", "-q"]).expect_code(0).stderr, "");
    let outcome = installation.container(&["list", "-q", "--debug"]).expect_code(0);
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    let line = outcome.stderr.trim_end();
    assert!(line.starts_with("debug: GET /") && line.contains(": done, after "), "{line}");
    let refused = installation.container(&["--debug", "inspect", "nobody"]).expect_code(1);
    assert!(refused.stderr.contains("nobody: notFound"), "{refused:?}");
}
