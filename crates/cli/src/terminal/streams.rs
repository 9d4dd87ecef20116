//! The descriptors that travel with an attached request.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use bulkhead_api::detach_keys::DetachKeys;
use bulkhead_api::request::{StartRequest, StreamKind};
use clap::ValueEnum;
use rustix::fs::{FileType, OFlags};

use super::window;
use crate::failure::Failure;
use crate::output::message;

/// This command's own streams, lent to a container's process.
#[derive(Debug)]
pub(crate) struct Streams {
    descriptors: Vec<(StreamKind, OwnedFd, OFlags)>,
    terminal_size: Option<(u16, u16)>,
    detach_keys: Option<DetachKeys>,
}

/// One of the three that every command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StandardStream {
    Stdin,
    Stdout,
    Stderr,
}

impl From<StandardStream> for StreamKind {
    fn from(stream: StandardStream) -> Self {
        match stream {
            StandardStream::Stdin => Self::Stdin,
            StandardStream::Stdout => Self::Stdout,
            StandardStream::Stderr => Self::Stderr,
        }
    }
}

impl Streams {
    /// None: the process runs detached.
    pub(crate) fn detached() -> Self {
        Self { descriptors: Vec::new(), terminal_size: None, detach_keys: None }
    }

    /// The terminal, or the three standard streams; stdin only if it is wanted.
    pub(crate) fn attached(terminal: bool, interactive: bool, command: &str) -> Result<Self, Failure> {
        let lent = if terminal {
            if !interactive && !io::stdin().is_terminal() {
                return Self::output(true);
            }
            if !io::stdin().is_terminal() {
                return Err(Failure::Usage {
                    message: "the input device is not a terminal: --interactive with --tty needs one"
                        .to_owned(),
                    command: command.to_owned(),
                });
            }
            writable_terminal().map(|terminal| vec![(StreamKind::Terminal, terminal)])
        } else {
            if interactive {
                warn_of_directory();
            }
            let stdin = interactive.then(|| (StreamKind::Stdin, duplicate(io::stdin().as_fd())));
            stdin.into_iter().chain(outputs()).map(|(kind, descriptor)| Ok((kind, descriptor?))).collect()
        };
        Self::lend(lent)
    }

    /// Those of the standard streams that are wanted; all if none is named. A terminal is one for input and output.
    pub(crate) fn of_these(
        wanted: &[StandardStream],
        terminal: bool,
        interactive: bool,
        command: &str,
    ) -> Result<Self, Failure> {
        let is_wanted =
            |kind| wanted.is_empty() || wanted.iter().any(|stream| StreamKind::from(*stream) == kind);
        if terminal && !is_wanted(StreamKind::Stdin) {
            return Self::output(true);
        }
        let mut streams = Self::attached(terminal, interactive && is_wanted(StreamKind::Stdin), command)?;
        streams.descriptors.retain(|(kind, ..)| *kind == StreamKind::Terminal || is_wanted(*kind));
        // Without any the container would be detached, and its exit code lost.
        if streams.is_detached() {
            return Err(Failure::Usage {
                message: "--attach stdin needs --interactive: nothing else is to be attached".to_owned(),
                command: command.to_owned(),
            });
        }
        Ok(streams)
    }

    /// What a process writes, and nothing else; a terminal's output is one stream.
    pub(crate) fn output(terminal: bool) -> Result<Self, Failure> {
        let wanted = outputs().into_iter().filter(|(kind, _)| !terminal || *kind == StreamKind::Stdout);
        Self::lend(wanted.map(|(kind, descriptor)| Ok((kind, descriptor?))).collect())
    }

    /// With the keys that let go of the terminal.
    pub(crate) fn leaving_by(mut self, keys: &DetachKeys) -> Self {
        self.detach_keys = Some(keys.clone());
        self
    }

    fn lend(lent: io::Result<Vec<(StreamKind, OwnedFd)>>) -> Result<Self, Failure> {
        let lent = lent.map_err(|error| {
            Failure::caused_by(
                bulkhead_api::error::ErrorCode::InternalError,
                "cannot pass on the standard streams",
                &error,
            )
        })?;
        let descriptors: Vec<_> = lent
            .into_iter()
            .map(|(kind, descriptor)| {
                let flags = rustix::fs::fcntl_getfl(&descriptor).unwrap_or(OFlags::empty());
                (kind, descriptor, flags)
            })
            .collect();
        let mut streams = Self { descriptors, terminal_size: None, detach_keys: None };
        streams.terminal_size = streams.terminal().and_then(window::size);
        Ok(streams)
    }

    /// As the request names them.
    pub(crate) fn request(&self) -> StartRequest {
        StartRequest {
            descriptors: self.descriptors.iter().map(|(kind, ..)| *kind).collect(),
            terminal_size: self.terminal_size,
            ssh_agent_socket: None,
            detach_keys: self.detach_keys.clone().filter(|_| self.terminal().is_some()),
        }
    }

    /// Rows and columns that the request names.
    pub(crate) fn request_size(&self) -> Option<(u16, u16)> {
        self.terminal_size
    }

    /// As the request carries them.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.descriptors.iter().map(|(_, descriptor, _)| descriptor.as_fd()).collect()
    }

    /// The terminal, if one was lent.
    pub(crate) fn terminal(&self) -> Option<&OwnedFd> {
        self.descriptors
            .iter()
            .find_map(|(kind, descriptor, _)| (*kind == StreamKind::Terminal).then_some(descriptor))
    }

    /// Whether the process gets nothing of this command.
    pub(crate) fn is_detached(&self) -> bool {
        self.descriptors.is_empty()
    }
}

impl Drop for Streams {
    /// Flags such as `O_NONBLOCK` belong to the open file, which the caller's shell shares: whatever the
    /// borrower set must not stay.
    fn drop(&mut self) {
        for (_, descriptor, flags) in &self.descriptors {
            // A stream that is gone has no flags to restore.
            let _ = rustix::fs::fcntl_setfl(descriptor, *flags);
        }
    }
}

fn duplicate(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    descriptor.try_clone_to_owned()
}

/// The process sees an empty stdin, where a program of this host would complain.
fn warn_of_directory() {
    let status = rustix::fs::fstat(io::stdin());
    let is_directory =
        status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory);
    if is_directory {
        message::warning("stdin is a directory, which has nothing to read");
    }
}

fn outputs() -> [(StreamKind, io::Result<OwnedFd>); 2] {
    [
        (StreamKind::Stdout, duplicate(io::stdout().as_fd())),
        (StreamKind::Stderr, duplicate(io::stderr().as_fd())),
    ]
}

/// Stdin, opened anew if it was opened for reading only, as `< /dev/tty` does.
fn writable_terminal() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    let flags = rustix::fs::fcntl_getfl(&stdin)?;
    if flags.contains(OFlags::RDWR) {
        return stdin.as_fd().try_clone_to_owned();
    }
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/proc/self/fd/0")?;
    Ok(terminal.into())
}
