//! Bytes in and out.
#![allow(clippy::unwrap_used, reason = "also outside of test functions a test fails by panicking")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{Installation, Terminal, wait_until};
use sha2::{Digest, Sha256};

#[test]
fn stdout_and_stderr_stay_apart() {
    let installation = Installation::with_demo();
    let outcome = installation.container(&["run", "--rm", "demo", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(outcome.text(), "out\n");
    assert!(outcome.stderr.ends_with("err\n"), "{outcome:?}");
}

#[test]
fn f55_binary_stdin_arrives_exactly_and_ends_once() {
    let installation = Installation::with_demo();
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let outcome =
        installation.container_with_input(&["run", "--rm", "-i", "demo", "cat"], &bytes).expect_code(0);
    assert_eq!(Sha256::digest(&outcome.stdout), Sha256::digest(&bytes));
}

#[test]
fn without_interactive_stdin_is_empty() {
    let installation = Installation::with_demo();
    let outcome =
        installation.container_with_input(&["run", "--rm", "demo", "cat"], b"unseen").expect_code(0);
    assert_eq!(outcome.stdout, b"");
}

#[test]
fn a_gigabyte_of_stdout_has_its_checksum() {
    let installation = Installation::with_demo();
    let script = "dd if=/dev/urandom of=/dev/shm/seed bs=1M count=16 2>/dev/null; i=0; \
                  while [ $i -lt 64 ]; do cat /dev/shm/seed; i=$((i+1)); done; sha256sum < /dev/shm/seed >&2";
    let mut child = installation
        .command(&["run", "--rm", "--shm-size", "64m", "demo", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = vec![0; 16 << 20];
    stdout.read_exact(&mut first).unwrap();
    let mut next = vec![0; 16 << 20];
    for round in 1..64 {
        stdout.read_exact(&mut next).unwrap();
        assert!(next == first, "round {round} differs");
    }
    assert_eq!(stdout.read(&mut next).unwrap(), 0);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let digest: String = Sha256::digest(&first).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(String::from_utf8_lossy(&output.stderr).contains(&digest));
}

/// PID 1 of the guest is batch work, so that small writes are not interrupted; the container is not.
#[test]
fn processes_of_the_container_have_the_usual_scheduling_policy() {
    let installation = Installation::with_demo();
    let line =
        installation.container(&["run", "--rm", "demo", "cat", "/proc/self/stat"]).expect_code(0).text();
    // proc_pid_stat(5): the 41st field; the second may hold spaces, and ends with the last parenthesis.
    let (_, fields) = line.rsplit_once(") ").unwrap();
    assert_eq!(fields.split(' ').nth(41 - 3), Some("0"), "{line}");
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let installation = Installation::with_demo();
    let mut child = installation
        .command(&["run", "--rm", "demo", "sh", "-c", "yes | head -c 3000000; exit 4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn half_close_of_stdin_leaves_stdout_open() {
    let installation = Installation::with_demo();
    let mut child = installation
        .command(&["run", "--rm", "-i", "demo", "sh", "-c", "cat >/dev/null; echo after"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"before").unwrap();
    drop(stdin);
    assert_eq!(child.wait_with_output().unwrap().stdout, b"after\n");
}

#[test]
fn a_terminal_is_a_terminal() {
    let installation = Installation::with_demo();
    // script(1) gives the command a terminal of its own.
    let command = installation.command(&["run", "--rm", "-it", "demo", "sh", "-c", "tty; stty size; exit 5"]);
    let program = command.get_program().to_string_lossy().into_owned();
    let words: Vec<String> = command.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("stty rows 33 cols 77; exec {program} {}", words.join(" ")), "/dev/null"]);
    for (name, value) in command.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    let outcome = bulkhead_tests::run_with_deadline(&mut script, b"").expect_code(5);
    assert!(outcome.text().contains("/dev/pts/0"), "{outcome:?}");
    assert!(outcome.text().contains("33 77"), "{outcome:?}");
}

#[test]
fn f55_stdin_from_a_device_that_never_ends_and_from_a_directory() {
    let installation = Installation::with_demo();
    let run = |stdin: &str, script: &str| {
        let stdin = File::open(stdin).unwrap();
        let mut command = installation.command(&["run", "--rm", "-i", "demo", "sh", "-c", script]);
        let output = command.stdin(stdin).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    };
    let (zeros, stderr) = run("/dev/full", "head -c 1000000 | tr -d '\\0' | wc -c; head -c 5 | wc -c");
    assert_eq!((zeros.trim(), stderr.as_str()), ("0\n5", ""));
    let (nothing, stderr) = run("/", "cat; echo end");
    assert_eq!(nothing, "end\n");
    assert_eq!(stderr, "Warning: stdin is a directory, which has nothing to read\n");
}

/// A terminal that is lent as stdin is not in raw mode.
#[test]
fn f55_ctrl_d_ends_the_input_of_a_process_without_a_terminal() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    for words in [&["run", "-i", "--rm", "demo"][..], &["exec", "-i", "box"]] {
        let script = "echo ready; cat; echo end; exit 3";
        let mut terminal = Terminal::spawn(installation.command(&[words, &["sh", "-c", script]].concat()));
        terminal.expect("ready");
        assert!(terminal.is_cooked());
        terminal.type_in("hi\n");
        // The terminal's echo, and what came back.
        terminal.expect("hi");
        terminal.expect("hi");
        terminal.type_in("\u{4}");
        terminal.expect("end");
        assert_eq!(terminal.wait(), 3, "{words:?}");
    }
}

/// A device that refuses every byte, as a full disk does.
#[test]
fn f53_an_output_that_cannot_be_written_is_told() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let told = |words: &[&str], code: Option<i32>| {
        let mut command = installation.command(words);
        let output = command.stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("Error: ") && stderr.contains("No space left on device"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        match code {
            Some(code) => assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}"),
            None => assert!(output.status.code().is_some_and(|code| code != 0), "{words:?}: {stderr}"),
        }
        stderr
    };
    told(&["run", "--rm", "demo", "echo", "hi"], Some(125));
    told(&["exec", "box", "echo", "hi"], Some(125));
    // Its own code stands.
    told(&["run", "--rm", "demo", "sh", "-c", "echo hi; exit 7"], Some(7));
    // One that would go on for ever is told as well.
    told(&["exec", "box", "sh", "-c", "exec yes 2>/dev/null"], None);
    for state in ["running", "stopped"] {
        if state == "stopped" {
            installation.run_ok(&["stop", "--time", "0", "box"]);
        }
        // Little fits a pipe, of much the writer hears.
        for words in [&["export", "box"][..], &["cp", "box:/etc/passwd", "-"], &["cp", "box:/bin", "-"]] {
            let stderr = told(words, Some(1));
            assert!(stderr.contains("the files of container 'box' did not reach the host"), "{stderr}");
        }
    }
    installation.run_ok(&["start", "box"]);
    let stderr = ["exec", "box", "sh", "-c", "echo hi >&2"];
    let output = installation.command(&stderr).stderr(full()).stdout(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    // The log has it, and the container's own code is that of its process.
    let kept = ["run", "--name", "kept", "demo", "echo", "hi"];
    told(&kept, Some(125));
    assert_eq!(installation.run_ok(&["logs", "kept"]), "hi");
    assert_eq!(installation.run_ok(&["wait", "kept"]), "0");
}

#[test]
fn f53_a_stuck_reader_costs_no_memory_and_nobody_else() {
    let installation = Installation::with_demo();
    let mut child = installation
        .command(&["run", "--name", "flood", "demo", "yes"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("flood", || installation.ids() == ["flood"] && installation.state("flood") == "running");
    let vmm = installation.snapshot("flood")["status"]["machine"]["pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{vmm}/status")).unwrap();
    let helper = field(&status, "PPid:");
    // What pipes and buffers hold is full by now, and the log has stopped growing.
    let log = installation.container_directory("flood").join("stdio.log");
    let length = || std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let mut before = u64::MAX;
    wait_until("back-pressure", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut before, length()) == length()
    });
    let memory = || field(&std::fs::read_to_string(format!("/proc/{helper}/status")).unwrap(), "RssAnon:");
    let (log_before, memory_before) = (length(), memory());
    assert_eq!(
        installation.run_ok(&["run", "--rm", "--memory", "200m", "demo", "echo", "unhindered"]),
        "unhindered"
    );
    assert_eq!(installation.run_ok(&["exec", "flood", "echo", "alive"]), "alive");
    assert_eq!(length(), log_before);
    assert!(memory() <= memory_before + 512, "{memory_before} kB before, {} kB now", memory());
    assert!(memory_before < 16 * 1024, "{memory_before} kB");
    // A reader that comes to life gets everything in order.
    let mut some = vec![0; 1 << 20];
    let mut reader = child.stdout.take().unwrap();
    reader.read_exact(&mut some).unwrap();
    assert!(some.chunks(2).all(|pair| pair == b"y\n"));
    installation.run_ok(&["delete", "--force", "flood"]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    drop(reader);
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn f57_every_exit_code_comes_back() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "host", "demo", "sleep", "600"]);
    for code in 0..=255 {
        let script = format!("exit {code}");
        let outcome = installation.container(&["exec", "host", "sh", "-c", &script]);
        assert_eq!(outcome.code, code, "{outcome:?}");
    }
    for signal in [1, 2, 6, 9, 11, 13, 15, 34, 64] {
        let script = format!("kill -{signal} $$; sleep 5");
        let outcome = installation.container(&["exec", "host", "sh", "-c", &script]);
        assert_eq!(outcome.code, 128 + signal, "{outcome:?}");
    }
    for (words, code) in [
        (&["exec", "host", "no-such-command"][..], 127),
        (&["exec", "host", "/etc/passwd"], 126),
        (&["exec", "host", "/"], 126),
        (&["exec", "-w", "/etc/passwd", "host", "true"], 125),
        (&["exec", "nobody", "true"], 125),
        (&["run", "--rm", "no such image", "true"], 125),
        (&["run", "--rm", "-w", "relative", "demo", "true"], 64),
        (&["run", "--rm", "--no-such-flag", "demo", "true"], 64),
    ] {
        let outcome = installation.container(words);
        assert_eq!(outcome.code, code, "{words:?}: {outcome:?}");
    }
}

/// Without a terminal the third one is for the command, which says what becomes of the process.
#[test]
fn f19_who_interrupts_three_times_is_told_what_goes_on() {
    let installation = Installation::with_demo();
    let script = "trap : INT; echo ready; while :; do sleep 0.1; done";
    let interrupted = |words: &[&str]| {
        let words = [words, &["sh", "-c", script]].concat();
        let mut command = installation.command(&words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        for _ in 0..3 {
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            // Signals that come together may become one.
            std::thread::sleep(Duration::from_millis(300));
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = interrupted(&["run", "--name", "kept", "demo"]);
    assert_eq!(told, "interrupted three times: the process goes on, this command ends\n");
    assert_eq!(installation.state("kept"), "running");
    let told = interrupted(&["exec", "kept"]);
    assert_eq!(told, "interrupted three times: the process is sent SIGHUP, this command ends\n");
    let told = interrupted(&["run", "--rm", "--name", "removed", "demo"]);
    assert_eq!(told, "interrupted three times: the container is stopped and removed, this command ends\n");
    wait_until("it is removed", || installation.ids() == ["kept"]);
}

/// Several at once: a busy machine is where a signal could come before the command listens.
#[test]
fn f19_signals_reach_the_process() {
    let installation = Installation::with_demo();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| signals_reach_the_process(&installation));
        }
    });
}

/// Each is sent in the moment in which the process says that it waits for it.
fn signals_reach_the_process(installation: &Installation) {
    let script =
        "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child = installation
        .command(&["run", "--rm", "demo", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut expect = |wanted: &str| {
        let mut line = vec![0; wanted.len()];
        stdout.read_exact(&mut line).unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), wanted);
    };
    let pid = rustix::process::Pid::from_child(&child);
    expect("ready\n");
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    expect("usr1\n");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    expect("term\n");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

/// As many as come together may become one, as with any process; the command outlives them, and its end is exact.
#[test]
fn f19_a_storm_of_signals_ends_with_the_exit_code() {
    let installation = Installation::with_demo();
    let script =
        "trap : USR1 USR2 HUP; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child = installation
        .command(&["run", "--rm", "demo", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let storm = [rustix::process::Signal::USR1, rustix::process::Signal::USR2, rustix::process::Signal::HUP];
    for signal in storm.into_iter().cycle().take(3000) {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((child.wait().unwrap().code(), rest.as_str()), (Some(9), "term\n"));
    assert!(installation.ids().is_empty());
}

#[test]
fn f56_a_storm_of_resizes_ends_with_the_last_size() {
    let installation = Installation::with_demo();
    let script = "echo ready; while read -r line; do stty size; done; exit 6";
    let mut terminal = Terminal::spawn(
        installation.command(&["run", "--rm", "--name", "window", "-it", "demo", "sh", "-c", script]),
    );
    terminal.expect("ready");
    for number in 0..3000_u16 {
        terminal.resize(number % 200, number % 300);
    }
    for (rows, columns) in [(0, 0), (u16::MAX, u16::MAX), (41, 111)] {
        terminal.resize(rows, columns);
    }
    wait_until("the last size", || {
        installation.run_ok(&["exec", "window", "sh", "-c", "stty size < /dev/pts/0"]) == "41 111"
    });
    terminal.type_in("x\n");
    terminal.expect("41 111");
    terminal.type_in("\u{4}");
    assert_eq!(terminal.wait(), 6);
    assert!(terminal.is_cooked());
}

#[test]
fn f56_the_terminal_is_restored_however_it_ends() {
    let installation = Installation::with_demo();
    let start = |name: &str| {
        let mut terminal = Terminal::spawn(installation.command(&[
            "run",
            "--name",
            name,
            "-it",
            "demo",
            "sh",
            "-c",
            "echo ready; sleep 600",
        ]));
        terminal.expect("ready");
        assert!(!terminal.is_cooked());
        terminal
    };
    let mut terminal = start("told");
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(terminal.wait(), 128 + 15);
    assert!(terminal.is_cooked(), "after SIGTERM");

    let mut terminal = start("machine");
    let vmm = installation.snapshot("machine")["status"]["machine"]["pid"].as_i64().unwrap();
    installation.kill(i32::try_from(vmm).unwrap());
    assert_eq!(terminal.wait(), 137);
    assert!(terminal.is_cooked(), "after the death of the machine");

    let mut terminal = start("server");
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert_eq!(terminal.wait(), 125);
    assert!(terminal.is_cooked(), "after the death of the server");
    terminal.expect("Error: interrupted");
    // The containers of the first and the last go on, as those of any client that went away.
    for name in ["told", "server"] {
        assert_eq!(installation.state(name), "running", "{name}");
    }
}

/// Reads the first line of what a command prints, lets go of the rest, and returns how the command ended.
#[track_caller]
fn read_one_line(installation: &Installation, arguments: &[&str]) -> (String, Option<i32>) {
    let mut child = installation.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut ended = None;
    wait_until("the end of a command that nobody reads", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    (line, ended.unwrap().code())
}

#[test]
fn f19_an_output_that_nobody_reads_ends_whoever_writes_it() {
    let installation = Installation::with_demo();
    // PID 1 is spared SIGPIPE, pid_namespaces(7), and is told EPIPE.
    assert_eq!(read_one_line(&installation, &["run", "--rm", "demo", "yes"]), ("y\n".to_owned(), Some(1)));
    assert!(installation.ids().is_empty());
    let script = "while :; do echo line; sleep 0.05; done";
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sh", "-c", script]);
    assert_eq!(read_one_line(&installation, &["exec", "box", "yes"]), ("y\n".to_owned(), Some(141)));
    assert!(!installation.run_ok(&["top", "box"]).contains("yes"));
    // Who was not started by the reader is not concerned.
    for _ in 0..2 {
        let (line, code) = read_one_line(&installation, &["attach", "--no-stdin", "box"]);
        assert_eq!((line.as_str(), code), ("line\n", Some(0)));
    }
    assert_eq!(installation.state("box"), "running");
}
