//! The stdio of a process: connections to the host on one side, pipes or a terminal on the other.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use bulkhead_guest_protocol::messages::Process;
use bulkhead_guest_protocol::stream::{StreamHeader, StreamKind};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use thiserror::Error;

use super::terminal;
use crate::streams::Stream;
use crate::vsock;

/// The streams could not be made.
#[derive(Debug, Error)]
pub(crate) enum StdioError {
    #[error("cannot connect {kind:?} to the host")]
    Dial {
        kind: StreamKind,
        #[source]
        source: Errno,
    },
    #[error("cannot make a pipe")]
    Pipe(#[source] Errno),
    #[error("cannot open a terminal")]
    Terminal(#[source] Errno),
}

/// Connections on their way. They are dialled first and used last, so that nobody waits for them.
#[derive(Debug)]
pub(crate) struct Dialled {
    process_number: u32,
    sockets: Vec<(StreamKind, OwnedFd)>,
}

/// What the child puts on its descriptors 0, 1 and 2.
#[derive(Debug)]
pub(crate) enum ChildStdio {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal { path: CString },
}

/// Starts to connect what the process needs.
pub(crate) fn dial(process: &Process) -> Result<Dialled, StdioError> {
    let kinds: &[StreamKind] = match (process.terminal, process.stdin) {
        (true, _) => &[StreamKind::Terminal],
        (false, true) => &[StreamKind::Stdin, StreamKind::Stdout, StreamKind::Stderr],
        (false, false) => &[StreamKind::Stdout, StreamKind::Stderr],
    };
    let dial_one = |kind: &StreamKind| match vsock::dial_stream() {
        Ok(socket) => Ok((*kind, socket)),
        Err(source) => Err(StdioError::Dial { kind: *kind, source }),
    };
    let sockets = kinds.iter().map(dial_one).collect::<Result<_, _>>()?;
    Ok(Dialled { process_number: process.number, sockets })
}

impl Dialled {
    /// Names the streams to the host and makes their local ends.
    pub(crate) fn connect(self, process: &Process) -> Result<(ChildStdio, Vec<Stream>), StdioError> {
        let process_number = self.process_number;
        let mut streams = Vec::with_capacity(self.sockets.len());
        let mut pipes = [None, None, None];
        let mut terminal_path = None;
        for (kind, socket) in self.sockets {
            let header = StreamHeader { process_number, kind };
            vsock::name_stream(&socket, header).map_err(|source| StdioError::Dial { kind, source })?;
            if kind == StreamKind::Terminal {
                let terminal = terminal::open(process.rows, process.columns).map_err(StdioError::Terminal)?;
                streams.push(Stream::terminal(process_number, socket, terminal.master));
                terminal_path = Some(terminal.path);
                continue;
            }
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(StdioError::Pipe)?;
            let (slot, end) = match kind {
                StreamKind::Stdin => {
                    streams.push(Stream::input(process_number, socket, writer));
                    (0, reader)
                }
                StreamKind::Stdout => {
                    streams.push(Stream::output(process_number, socket, reader));
                    (1, writer)
                }
                // `dial` makes no others.
                _ => {
                    streams.push(Stream::output(process_number, socket, reader));
                    (2, writer)
                }
            };
            pipes[slot] = Some(end);
        }
        match (terminal_path, pipes) {
            (Some(path), _) => Ok((ChildStdio::Terminal { path }, streams)),
            (None, [stdin, Some(stdout), Some(stderr)]) => {
                Ok((ChildStdio::Pipes { stdin, stdout, stderr }, streams))
            }
            // `dial` always makes both outputs.
            (None, _) => Err(StdioError::Pipe(Errno::BADF)),
        }
    }
}
