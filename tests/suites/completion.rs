//! What shells offer when the user presses Tab, and manual pages.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::process::Command;

use bulkhead_tests::{Installation, run_with_deadline};

/// What bash would offer for the last of the words.
fn offers(installation: &Installation, words: &[&str]) -> Vec<String> {
    let program = installation.command(&[]).get_program().to_owned();
    let folder = std::path::Path::new(&program).parent().unwrap().to_owned();
    let script = installation.run_ok(&["completion", "bash"]);
    let line =
        ["container"].iter().chain(words).map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let function = script.lines().find_map(|line| line.strip_suffix("() {")).expect("a function").trim();
    let ask = format!(
        "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}; COMP_TYPE=9; {function} container '{}' ''; printf '%s\\n' \
         \"${{COMPREPLY[@]}}\"",
        words.len(),
        words.last().unwrap_or(&"")
    );
    let mut bash = Command::new("bash");
    let with_environment = installation.command(&[]);
    for (name, value) in with_environment.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    let path = std::env::var("PATH").unwrap_or_default();
    bash.env("PATH", format!("{}:{path}", folder.display())).args(["--norc", "-c", &ask]);
    let outcome = run_with_deadline(&mut bash, b"").expect_code(0);
    assert_eq!(outcome.stderr, "", "{words:?}");
    outcome.text().lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn commands_flags_and_names_are_offered() {
    let installation = Installation::new();
    assert!(offers(&installation, &["insp"]).contains(&"inspect".to_owned()));
    assert_eq!(offers(&installation, &["image", "insp"]), ["inspect"]);
    assert!(offers(&installation, &["run", "--workd"]).contains(&"--workdir".to_owned()));
    assert!(offers(&installation, &["list", "--format", ""]).contains(&"json".to_owned()));
    let flags = offers(&installation, &["start", ""]);
    assert!(flags.iter().all(|word| word.starts_with('-')), "{flags:?}");
    assert!(installation.pids("container-apiserver").is_empty(), "a key starts no services");

    installation.load(&installation.demo_archive());
    for name in ["web-one", "web-two", "database"] {
        installation.run_ok(&["create", "--name", name, "demo", "true"]);
    }
    assert!(offers(&installation, &["start", ""]).contains(&"database".to_owned()));
    let mut names = offers(&installation, &["start", "web"]);
    names.sort_unstable();
    assert_eq!(names, ["web-one", "web-two"]);
    assert_eq!(offers(&installation, &["delete", "web-one", "da"]), ["database"]);
    assert!(offers(&installation, &["run", "--rm", "de"]).contains(&"demo:latest".to_owned()));
    assert!(offers(&installation, &["image", "inspect", ""]).contains(&"demo:latest".to_owned()));
    installation.run_ok(&["volume", "create", "--opt", "size=64m", "web-data"]);
    assert_eq!(offers(&installation, &["volume", "delete", "web"]), ["web-data"]);
    assert_eq!(offers(&installation, &["volume", "inspect", "web"]), ["web-data"]);
    assert_eq!(offers(&installation, &["run", "--volume", "web"]), ["web-data"]);
    assert_eq!(offers(&installation, &["run", "--volumes-from", "da"]), ["database"]);
    installation.run_ok(&["run", "-d", "--name", "runs", "demo", "sleep", "600"]);
    assert_eq!(offers(&installation, &["copy", "ru"]), ["runs:"]);
    assert_eq!(offers(&installation, &["cp", "/etc/passwd", "web-o"]), ["web-one:"]);
    assert!(offers(&installation, &["cp", "/etc/pass"]).contains(&"/etc/passwd".to_owned()));
    assert!(offers(&installation, &["kill", "-s", ""]).contains(&"TERM".to_owned()));
    assert_eq!(offers(&installation, &["stop", "--signal", "SIGH"]), ["SIGHUP"]);
    assert_eq!(offers(&installation, &["run", "--stop-signal", "QU"]), ["QUIT"]);
    assert!(offers(&installation, &["run", "--network", "def"]).contains(&"default".to_owned()));
}

#[test]
fn scripts_are_what_their_shells_understand() {
    let installation = Installation::new();
    for (shell, word) in [("bash", "complete "), ("zsh", "#compdef container"), ("fish", "complete ")] {
        let script = installation.run_ok(&["completion", shell]);
        assert!(script.contains(word) && script.contains("CONTAINER_COMPLETE"), "{shell}: {script}");
    }
    let _ = installation.container(&["completion", "tcsh"]).expect_code(64);
}

#[test]
fn every_command_has_a_manual_page() {
    let installation = Installation::new();
    let folder = installation.demo_archive().ancestors().nth(2).unwrap().join("man/man1");
    let fresh = installation.folder().join("man1");
    installation.run_ok(&["man", fresh.to_str().unwrap()]);
    let pages = |folder: &std::path::Path| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    };
    let names = pages(&fresh);
    assert_eq!(pages(&folder), names, "the installed pages are those of this command");
    for name in
        ["container.1", "container-run.1", "container-image-pull.1", "container-system-property-list.1"]
    {
        assert!(names.contains(&name.to_owned()), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"container-man.1".to_owned()));
    let page = std::fs::read_to_string(fresh.join("container-run.1")).unwrap();
    assert!(page.contains("Set an environment variable"), "{page}");
    assert!(page.contains(".TH"), "{page}");
}
