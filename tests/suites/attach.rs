//! Clients that come and go.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{Installation, TerminalCommand, wait_until};

const CTRL_P: &[u8] = &[16];
const CTRL_Q: &[u8] = &[17];

fn detach(mut terminal: TerminalCommand, hint: &str) {
    // Split over reads: the first key is held back until the next decides.
    terminal.type_keys(CTRL_P);
    std::thread::sleep(Duration::from_millis(50));
    terminal.type_keys(CTRL_Q);
    let (code, stdout, stderr) = terminal.finish();
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(stderr.contains(hint), "{stderr}");
}

#[test]
fn f56_a_terminal_is_left_and_taken_again() {
    let installation = Installation::with_demo();
    let mut terminal =
        TerminalCommand::spawn(&mut installation.command(&["run", "-it", "--name", "shell", "demo", "sh"]));
    terminal.type_keys(b"x=4; echo a$((40 + 2))\n");
    terminal.expect("a42");
    detach(terminal, "container attach shell");
    assert_eq!(installation.state("shell"), "running");

    let mut terminal = TerminalCommand::spawn(&mut installation.command(&["attach", "shell"]));
    terminal.type_keys(b"echo b$((40 + x))\n");
    terminal.expect("b44");
    let mut second =
        TerminalCommand::spawn(&mut installation.command(&["attach", "--detach-keys", "ctrl-x", "shell"]));
    let (code, _, stderr) = terminal.finish();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("another client"), "{stderr}");
    // The default keys mean nothing now: the process gets them.
    second.type_keys(b"\x10\x11");
    second.type_keys(b"\x15echo c$((40 + x))\n");
    second.expect("c44");
    second.type_keys(&[24]);
    assert_eq!(second.finish().0, Some(0));

    let mut terminal =
        TerminalCommand::spawn(&mut installation.command(&["exec", "-it", "shell", "sh", "-c", "cat; true"]));
    terminal.type_keys(b"typed\n");
    terminal.expect("typed");
    detach(terminal, "goes on in container 'shell'");
    assert!(installation.run_ok(&["exec", "shell", "ps"]).contains("cat"), "it is not hung up");

    let mut terminal = TerminalCommand::spawn(&mut installation.command(&["attach", "shell"]));
    terminal.type_keys(b"exit 3\n");
    assert_eq!(terminal.finish().0, Some(3));

    let mut terminal = TerminalCommand::spawn(&mut installation.command(&["start", "-ai", "shell"]));
    terminal.type_keys(b"echo d$((1 + 1))\n");
    terminal.expect("d2");
    detach(terminal, "container attach shell");
    let refused = installation.container(&["start", "-a", "shell"]).expect_code(1);
    assert!(refused.stderr.contains("container attach shell"), "{refused:?}");
}

#[test]
fn pipes_are_attached_too() {
    let installation = Installation::with_demo();
    let script = "while read word; do echo got $word; done; exit 6";
    installation.run_ok(&["run", "-d", "-i", "--name", "reader", "demo", "sh", "-c", script]);
    let first =
        installation.command(&["attach", "--no-stdin", "reader"]).stdout(Stdio::piped()).spawn().unwrap();
    // Else it might take the place of the next one after its death.
    let attached = ["events", "--since", "1h", "--until", "0s", "--filter", "event=attach"];
    wait_until("it is attached", || !installation.run_ok(&attached).is_empty());
    installation.kill(first.id().cast_signed());
    assert_eq!(first.wait_with_output().unwrap().status.code(), None);
    let outcome = installation.container_with_input(&["attach", "reader"], b"one\ntwo\n").expect_code(6);
    assert_eq!(outcome.text(), "got one\ngot two\n");
    let refused = installation.container(&["attach", "reader"]).expect_code(1);
    assert!(refused.stderr.contains("not running"), "{refused:?}");
}

#[test]
fn signals_are_passed_on_unless_they_are_kept() {
    let installation = Installation::with_demo();
    let script = "trap 'echo usr; exit 8' USR1; echo ready; while :; do sleep 0.1; done";
    installation.run_ok(&["run", "-d", "--name", "trapper", "demo", "sh", "-c", script]);
    let attach = |flags: &[&str]| {
        let words = [&["attach", "--no-stdin"], flags, &["trapper"]].concat();
        let child = installation.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(700));
        child
    };
    let signal = |child: &std::process::Child, name| {
        let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, name).unwrap();
    };
    let keeps = attach(&["--sig-proxy=false"]);
    signal(&keeps, rustix::process::Signal::INT);
    assert_eq!(keeps.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(installation.state("trapper"), "running");
    let passes = attach(&[]);
    signal(&passes, rustix::process::Signal::USR1);
    let output = passes.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(8), &b"usr\n"[..]));
}

#[test]
fn f1_a_killed_client_leaves_a_detached_container() {
    let installation = Installation::with_demo();
    let script = "i=0; while [ $i -lt 30 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 4";
    let client = installation
        .command(&["run", "--name", "kept", "demo", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it runs", || installation.ids() == ["kept"] && installation.state("kept") == "running");
    installation.kill(client.id().cast_signed());
    drop(client.wait_with_output().unwrap());
    assert_eq!(installation.run_ok(&["wait", "kept"]), "4");
    assert!(installation.run_ok(&["logs", "kept"]).ends_with("\n29"));
}

#[test]
fn f54_attaching_a_thousand_times_leaves_nothing_behind() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "-i", "--name", "kept", "demo", "cat"]);
    let vmm = installation.snapshot("kept")["status"]["machine"]["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{vmm}/status")).unwrap();
    let helper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    let [apiserver] = installation.pids("container-apiserver")[..] else { panic!("one apiserver") };
    let apiserver = apiserver.to_string();
    let count = || {
        [&helper, &apiserver].map(|pid| {
            ["fd", "task"].map(|what| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count())
        })
    };
    let cycle = || {
        let children: Vec<_> = (0..10)
            .map(|_| {
                let mut command = installation.command(&["attach", "--no-stdin", "kept"]);
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        // Each takes the place of the one before; the last is killed.
        for mut child in children {
            for _ in 0..20 {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
    };
    (0..5).for_each(|_| cycle());
    std::thread::sleep(Duration::from_millis(300));
    let before = count();
    (0..100).for_each(|_| cycle());
    wait_until("all is given back", || {
        let now = count();
        // Idle threads of the apiserver's pool come and go.
        (0..2).all(|one| now[one][0] <= before[one][0] && now[one][1] <= before[one][1] + 16)
            && now[0][1] <= before[0][1]
    });
    let told = ["events", "--since", "1h", "--until", "0s", "--filter", "event=attach"];
    let attached = installation.run_ok(&told).lines().count();
    assert!(attached > 100, "only {attached} of the last clients were attached at all");
    let outcome = installation.container_with_input(&["attach", "kept"], b"still here").expect_code(0);
    assert_eq!(outcome.text(), "still here", "{outcome:?}");
}
