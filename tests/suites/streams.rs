//! Bytes in and out.

use std::io::{Read, Write};
use std::process::Stdio;

use bulkhead_tests::Installation;
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
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
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
