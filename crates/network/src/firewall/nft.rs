//! The program that loads rules.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

/// Where programs are that PATH does not lead to.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// Held while a program is started: between fork(2) and execve(2) it has all of our sockets, those that are closed
/// meanwhile included.
static STARTING: Mutex<()> = Mutex::new(());

/// Why rules could not be put in place.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum FirewallError {
    /// No nft program.
    #[error("cannot run nft (package nftables)")]
    Spawn(#[source] io::Error),
    /// Its pipes failed.
    #[error("cannot talk to nft")]
    Transfer(#[source] io::Error),
    /// It refused the rules.
    #[error("nft refuses {what}: {output}")]
    Refused { what: &'static str, output: String },
}

/// An nft program at work.
#[derive(Debug)]
pub(crate) struct Loading {
    what: &'static str,
    child: Child,
}

/// Has nft load rules in the calling thread's network namespace.
pub(crate) fn load(what: &'static str, rules: &str) -> Result<Loading, FirewallError> {
    let mut command = Command::new(program("nft"));
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = while_none_starts(|| command.spawn()).map_err(FirewallError::Spawn)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes()).map_err(FirewallError::Transfer)?;
    }
    Ok(Loading { what, child })
}

/// Does something that a program which is just being started must not have a part in.
pub(crate) fn while_none_starts<T>(work: impl FnOnce() -> T) -> T {
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// A program by PATH, else where distributions put it: a user's PATH may have no sbin, a daemon's less.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| PathBuf::from(name))
}

impl Loading {
    /// As [`Self::finish`], without holding up what else the calling thread serves.
    pub(crate) async fn finished(self) -> Result<(), FirewallError> {
        let waiting = tokio::task::spawn_blocking(move || self.finish()).await;
        waiting.unwrap_or_else(|error| Err(FirewallError::Transfer(io::Error::other(error))))
    }

    /// Waits until the rules are in place.
    pub(crate) fn finish(self) -> Result<(), FirewallError> {
        let output = self.child.wait_with_output().map_err(FirewallError::Transfer)?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(FirewallError::Refused {
            what: self.what,
            output: text.lines().take(3).collect::<Vec<_>>().join("; "),
        })
    }
}
