//! Credential helpers: `docker-credential-<name> get|store|erase` (docker/docker-credential-helpers).

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::server::docker_key;
use crate::{CredentialsError, Login};

/// Long enough to type a passphrase.
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_OUTPUT_BYTES: usize = 64 << 10;

/// What all helpers say, with status 1, when they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A program that keeps credentials.
#[derive(Debug)]
pub(crate) struct Helper {
    program: String,
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
        Ok(Self { program })
    }

    pub(crate) fn get(&self, server: &str) -> Result<Option<Login>, CredentialsError> {
        let output = match self.run("get", docker_key(server).as_bytes()) {
            Ok(output) => output,
            Err(CredentialsError::Helper { reason, .. }) if reason.contains(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let message: Message =
            serde_json::from_slice(&output).map_err(|_| self.failed("its answer is not understood"))?;
        if message.username == "<token>" {
            return Err(self.failed("it has an identity token, which only Docker itself can use"));
        }
        // Helpers say so as well when they have nothing.
        let found = !message.username.is_empty() || !message.secret.is_empty();
        Ok(found.then_some(Login { username: message.username, secret: message.secret }))
    }

    pub(crate) fn store(&self, server: &str, login: &Login) -> Result<(), CredentialsError> {
        let message = Message {
            server_url: docker_key(server).to_owned(),
            username: login.username.clone(),
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
        let outcome = exchange(&mut child, input);
        if outcome.is_err() {
            // It may have ended by itself.
            drop(child.kill());
        }
        let status = child.wait().map_err(failed)?;
        let output = match outcome {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(self.failed(&format!("no answer for {} s", TIMEOUT.as_secs())));
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

/// Gives the child its input, which fits a pipe, and reads its output until it closes it.
fn exchange(child: &mut Child, input: &[u8]) -> io::Result<Vec<u8>> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input) {
            // It may know already that it cannot.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let deadline = Instant::now() + TIMEOUT;
    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::TimedOut)?;
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(output),
            read => output.extend_from_slice(&buffer[..read]),
        }
        if output.len() > MAX_OUTPUT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

#[cfg(test)]
mod tests {
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
}
