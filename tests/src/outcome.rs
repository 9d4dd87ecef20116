//! Running a command to its end, with a deadline.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No command of a suite takes longer on two busy cores.
const DEADLINE: Duration = Duration::from_secs(180);

/// What a command did.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; 128 + n after death by signal n.
    pub code: i32,
    /// Bytes of stdout.
    pub stdout: Vec<u8>,
    /// Text of stderr.
    pub stderr: String,
}

impl Outcome {
    /// stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails the test unless the code is as expected; returns itself.
    #[track_caller]
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "unexpected exit code of {self:?}");
        self
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = self.text();
        let shown: String = stdout.chars().take(2000).collect();
        write!(formatter, "code {}\nstdout: {shown}\nstderr: {}", self.code, self.stderr)
    }
}

/// Runs a command with `input` as its stdin, and kills it at the deadline.
///
/// # Panics
/// The command cannot be spawned or is still there at the deadline.
#[track_caller]
pub fn run_with_deadline(command: &mut Command, input: &[u8]) -> Outcome {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let writer = child.stdin.take().map(|mut pipe| {
        let input = input.to_vec();
        // A child that does not read all of it closes the pipe: no matter of this thread.
        thread::spawn(move || drop(pipe.write_all(&input)))
    });
    let stdout = read_all(child.stdout.take().expect("stdout is piped"));
    let stderr = read_all(child.stderr.take().expect("stderr is piped"));
    let code = wait(&mut child, command);
    let outcome = Outcome {
        code,
        stdout: stdout.join().expect("reader of stdout"),
        stderr: String::from_utf8_lossy(&stderr.join().expect("reader of stderr")).into_owned(),
    };
    if let Some(writer) = writer {
        writer.join().expect("writer of stdin");
    }
    outcome
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("pipe");
        bytes
    })
}

#[track_caller]
fn wait(child: &mut Child, command: &Command) -> i32 {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        }
        if begin.elapsed() > DEADLINE {
            child.kill().expect("kill");
            panic!("{command:?} was still running after {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
