//! What shells offer when the user presses Tab, and manual pages.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, Terminal, run_with_deadline};

/// What bash would offer for the last of the words.
fn offers(installation: &Installation, words: &[&str]) -> Vec<String> {
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
    let mut bash = shell(installation, "bash");
    let outcome = run_with_deadline(bash.args(["--norc", "-c", &ask]), b"").expect_code(0);
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
    assert!(offers(&installation, &["image", "history", ""]).contains(&"demo:latest".to_owned()));
    assert_eq!(offers(&installation, &["commit", "-m", "x", "da"]), ["database"]);
    assert_eq!(offers(&installation, &["update", "--restart", "no", "da"]), ["database"]);
    installation.run_ok(&["volume", "create", "--opt", "size=64m", "web-data"]);
    assert_eq!(offers(&installation, &["volume", "delete", "web"]), ["web-data"]);
    assert_eq!(offers(&installation, &["volume", "inspect", "web"]), ["web-data"]);
    assert_eq!(offers(&installation, &["run", "--volume", "web"]), ["web-data"]);
    assert_eq!(offers(&installation, &["run", "-v", "/etc/pass"])[0], "/etc/passwd");
    assert_eq!(offers(&installation, &["run", "--gpu"]), [""; 0], "what is refused");
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

/// With the environment of the installation, whose commands are found by their names.
fn shell(installation: &Installation, name: &str) -> Command {
    let is_there = Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(is_there, "{name} is missing: apt-get install {name}");
    let mut shell = Command::new(name);
    let with_environment = installation.command(&[]);
    for (name, value) in with_environment.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let folder = std::path::Path::new(with_environment.get_program()).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{}:{path}", folder.display()));
    shell
}

#[test]
fn fish_offers_names_and_what_they_are() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "database", "demo", "true"]);
    let offers = |line: &str| {
        let ask = format!("container completion fish | source; complete -C '{line}'");
        let outcome = run_with_deadline(shell(&installation, "fish").args(["--no-config", "-c", &ask]), b"");
        let outcome = outcome.expect_code(0);
        assert_eq!(outcome.stderr, "", "{line}");
        outcome.text()
    };
    assert_eq!(offers("container exec "), "database\tstopped\n");
    assert_eq!(offers("container inspect da"), "database\tstopped\n");
    assert_eq!(offers("container run --rm dem"), "demo:latest\n");
    assert!(offers("container exec --wo").lines().any(|line| line.starts_with("--workdir\t")));
    assert!(offers("container res").contains("restart\t"));
}

#[test]
fn zsh_completes_from_the_first_key_on() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "database", "demo", "true"]);
    let home = installation.folder().join("zsh");
    std::fs::create_dir(&home).unwrap();
    let script = installation.run_ok(&["completion", "zsh"]);
    for (name, load) in [
        ("a file of fpath", "fpath=($ZDOTDIR $fpath); autoload -Uz compinit; compinit -u"),
        ("a line of .zshrc", "autoload -Uz compinit; compinit -u; source <(container completion zsh)"),
    ] {
        std::fs::write(home.join("_container"), &script).unwrap();
        std::fs::write(home.join(".zshrc"), format!("PS1='ready> '; {load}\n")).unwrap();
        let mut zsh = shell(&installation, "zsh");
        zsh.arg("-i").env("ZDOTDIR", &home).env("TERM", "dumb");
        let mut terminal = Terminal::spawn(zsh);
        terminal.expect("ready> ");
        // What was completed is what runs.
        terminal.type_in("container inspect -f '<{{.id}}>' dat\t\r");
        terminal.expect("<database>");
        terminal.type_in("container image inspect -f '<{{.Os}}>' dem\t\r");
        terminal.expect("<linux>");
        terminal.type_in("exit\r");
        assert_eq!(terminal.wait(), 0, "{name}");
        std::fs::remove_file(home.join("_container")).unwrap();
    }
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
