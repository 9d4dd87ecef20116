//! A terminal and the command that runs on it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::{PATIENCE, wait_until};

/// A command whose stdin is a terminal; stdout is a pipe, so that it can be told from what the
/// terminal shows.
#[derive(Debug)]
pub struct TerminalCommand {
    master: File,
    child: Child,
    shown: Receiver<Vec<u8>>,
    seen: String,
}

impl TerminalCommand {
    /// Starts the command.
    ///
    /// # Panics
    /// There is no terminal, or no such command.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let path = ptsname(&master, Vec::new()).expect("ptsname");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave: OwnedFd = open(path, flags, Mode::empty()).expect("slave");
        let child = command
            .stdin(slave)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let master = File::from(master);
        let mut reader = master.try_clone().expect("descriptor");
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO when the last slave is closed.
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master, child, shown, seen: String::new() }
    }

    /// Types, once the command has put the terminal into raw mode, which drops what was typed before.
    ///
    /// # Panics
    /// The terminal is gone, or never in raw mode.
    pub fn type_keys(&mut self, keys: &[u8]) {
        wait_until("raw mode", || {
            let attributes = tcgetattr(&self.master).expect("terminal");
            !attributes.local_modes.contains(LocalModes::ICANON)
        });
        self.master.write_all(keys).expect("terminal");
    }

    /// Waits until the terminal has shown this text since the last time that this was called.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let begin = Instant::now();
        loop {
            if let Some(position) = self.seen.find(text) {
                self.seen.drain(..position + text.len());
                return;
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("'{text}' was not shown ({error}), but: {}", self.seen),
            }
        }
    }

    /// Process id of the command.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the command; exit code, stdout and stderr.
    ///
    /// # Panics
    /// It cannot be waited for.
    #[must_use]
    pub fn finish(self) -> (Option<i32>, String, String) {
        let output = self.child.wait_with_output().expect("wait");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}
