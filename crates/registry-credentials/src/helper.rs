//! Credential helpers: `docker-credential-<name> get|store|erase` (docker/docker-credential-helpers).

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use serde::{Deserialize, Serialize};

use crate::server::docker_key;
use crate::{CredentialsError, Login};

/// Long enough to type a passphrase.
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// Between two looks whether a helper that has said everything has ended.
const END_INTERVAL: Duration = Duration::from_millis(10);

/// The user name that says that the secret is an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// What all helpers say, with status 1, when they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A program that keeps credentials.
#[derive(Debug)]
pub(crate) struct Helper {
    program: String,
    timeout: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    /// A helper by its name in a file, which must not lead elsewhere.
    pub(crate) fn new(name: &str) -> Result<Self, CredentialsError> {
        let program = format!("docker-credential-{}", name.escape_default());
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(CredentialsError::Helper {
                program,
                reason: "that is no name of a helper".to_owned(),
            });
        }
        Ok(Self { program, timeout: TIMEOUT })
    }

    pub(crate) fn get(&self, server: &str) -> Result<Option<Login>, CredentialsError> {
        let output = match self.run("get", docker_key(server).as_bytes()) {
            Ok(output) => output,
            Err(CredentialsError::Helper { reason, .. }) if reason.contains(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let message: Message =
            serde_json::from_slice(&output).map_err(|_| self.failed("its answer is not understood"))?;
        // Helpers say so as well when they have nothing.
        if message.secret.is_empty() {
            return Ok(None);
        }
        Ok(Some(match message.username.as_str() {
            IDENTITY_TOKEN => Login::identity_token(message.secret),
            _ => Login::new(message.username, message.secret),
        }))
    }

    pub(crate) fn store(&self, server: &str, login: &Login) -> Result<(), CredentialsError> {
        let message = Message {
            server_url: docker_key(server).to_owned(),
            username: match login.is_identity_token {
                true => IDENTITY_TOKEN.to_owned(),
                false => login.username.clone(),
            },
            secret: login.secret.clone(),
        };
        let input =
            serde_json::to_vec(&message).map_err(|_| self.failed("it cannot be given such a login"))?;
        self.run("store", &input).map(drop)
    }

    pub(crate) fn erase(&self, server: &str) -> Result<(), CredentialsError> {
        match self.run("erase", docker_key(server).as_bytes()) {
            Err(CredentialsError::Helper { reason, .. }) if reason.contains(NOT_FOUND) => Ok(()),
            other => other.map(drop),
        }
    }

    fn failed(&self, reason: &str) -> CredentialsError {
        CredentialsError::Helper { program: self.program.clone(), reason: reason.to_owned() }
    }

    fn run(&self, verb: &str, input: &[u8]) -> Result<Vec<u8>, CredentialsError> {
        let failed = |source| CredentialsError::RunHelper { program: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let deadline = Instant::now() + self.timeout;
        let outcome = exchange(&mut child, input, deadline)
            .and_then(|output| Ok((output, wait_until(&mut child, deadline)?)));
        if outcome.is_err() {
            // It may have ended by itself.
            drop(child.kill());
            child.wait().map_err(failed)?;
        }
        let (output, status) = match outcome {
            Ok(done) => done,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(self.failed(&format!("it is not done after {} s", self.timeout.as_secs())));
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(self.failed("its answer has no end"));
            }
            Err(error) => return Err(failed(error)),
        };
        if status.success() {
            return Ok(output);
        }
        // Helpers put their messages on stdout.
        let text = String::from_utf8_lossy(&output);
        let line: String =
            text.trim().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Err(self.failed(if line.is_empty() { "it says not why" } else { &line }))
    }
}

/// Gives the child its input and reads its output until it closes it.
fn exchange(child: &mut Child, input: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut stdin = child.stdin.take();
    if let Some(stdin) = &stdin {
        ioctl_fionbio(stdin, true)?;
    }
    let (mut unsent, mut output) = (input, Vec::new());
    loop {
        if unsent.is_empty() {
            stdin = None;
        }
        let (readable, writable) = await_either(&stdout, stdin.as_ref(), deadline)?;
        if writable && let Some(pipe) = &mut stdin {
            match pipe.write(unsent) {
                Ok(written) => unsent = &unsent[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It may know already that it cannot.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => unsent = &[],
                Err(error) => return Err(error),
            }
        }
        if readable {
            let mut buffer = [0; 4096];
            match stdout.read(&mut buffer)? {
                0 => return Ok(output),
                read => output.extend_from_slice(&buffer[..read]),
            }
        }
        if output.len() > MAX_OUTPUT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// Whether there is something to read, and room to write.
fn await_either(
    stdout: &ChildStdout,
    stdin: Option<&ChildStdin>,
    deadline: Instant,
) -> io::Result<(bool, bool)> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::TimedOut)?;
    let mut pipes = vec![PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
    pipes.extend(stdin.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)));
    match poll(&mut pipes, Some(&left)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) => {
            let ready = |pipe: Option<&PollFd<'_>>| pipe.is_some_and(|pipe| !pipe.revents().is_empty());
            Ok((ready(pipes.first()), ready(pipes.get(1))))
        }
        Err(rustix::io::Errno::INTR) => Ok((false, false)),
        Err(error) => Err(error.into()),
    }
}

/// It may close its output and go on.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(END_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["", "../../bin/sh", "a b", "a/b", "x;y", "é"] {
            assert!(Helper::new(name).is_err(), "{name}");
        }
        assert!(Helper::new("secretservice").is_ok());
        let error = Helper::new("no-such-helper").unwrap().get("r.example").unwrap_err();
        assert!(error.to_string().contains("'docker-credential-no-such-helper'"), "{error}");
    }

    #[test]
    fn those_that_never_end_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str, script: &str, input: &[u8]| {
            let program = folder.path().join(name);
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let program = program.to_str().unwrap().to_owned();
            let started = Instant::now();
            let outcome = Helper { program, timeout: Duration::from_millis(300) }.run("get", input);
            assert!(started.elapsed() < Duration::from_secs(10), "{script}");
            outcome
        };
        let large = vec![b'x'; 1 << 20];
        // Silent; closed its output but goes on; reads nothing of what does not fit a pipe.
        for (name, script) in
            [("a", "exec sleep 30"), ("b", "exec >&-; exec sleep 30"), ("c", "exec sleep 30")]
        {
            let error = run(name, script, if name == "c" { &large } else { b"" }).unwrap_err();
            assert!(error.to_string().contains("not done"), "{error}");
        }
        // What does not fit a pipe arrives all the same, also where nobody wants it.
        assert_eq!(run("d", "wc -c", &large).unwrap().trim_ascii(), b"1048576");
        assert_eq!(run("e", "exec <&-; echo done", &large).unwrap(), b"done\n");
    }
}
