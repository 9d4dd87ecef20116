//! Archives on their way between this host's files and a container.
//!
//! The container's end of a pipe travels to the apiserver; a thread works at this end. What comes out of
//! it was said by a guest and is extracted as such: see [`bulkhead_archive::tree`].

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::mpsc;

use bulkhead_api::error::ErrorCode;
use bulkhead_api::event::StreamEvent;
use bulkhead_archive::tar::{Reader, Writer};
use bulkhead_archive::tree::{
    ExtractOptions, Links, Placement, Scope, Skipped, Top, TreeError, extract, pack,
};
use bulkhead_client::EventStream;
use tokio::sync::oneshot;

use crate::attached;
use crate::failure::Failure;
use crate::output::message;

/// As much as the runtime moves at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// The local half of a copy, and the descriptor for the other one.
#[derive(Debug)]
pub(crate) struct Transfer {
    remote: OwnedFd,
    local: oneshot::Receiver<Result<(), TreeError>>,
    notes: mpsc::Receiver<Skipped>,
}

impl Transfer {
    /// Sends a tree of this host.
    pub(crate) fn send(top: Top) -> Result<Self, Failure> {
        let (reader, writer) = pipe()?;
        Ok(Self::spawn(reader, writer, move |pipe, skipped| {
            let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, pipe));
            pack(&top, b".", Scope::Everything, &mut writer, skipped)?;
            let mut output = writer.finish().map_err(TreeError::Output)?;
            output.flush().map_err(TreeError::Output)
        }))
    }

    /// Receives a tree of a container.
    pub(crate) fn receive(
        destination: String,
        source_name: String,
        contents_only: bool,
        keep_owner: bool,
    ) -> Result<Self, Failure> {
        let (reader, writer) = pipe()?;
        Ok(Self::spawn(writer, reader, move |pipe, skipped| {
            let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, pipe));
            let placement = Placement::Copy { source_name: source_name.as_bytes(), contents_only };
            let options = ExtractOptions {
                keep_owner,
                special_files: false,
                user_attributes_only: true,
                links: Links::Refuse,
            };
            extract(&mut reader, destination.as_bytes(), placement, options, skipped)
        }))
    }

    fn spawn(
        remote: OwnedFd,
        pipe: OwnedFd,
        work: impl FnOnce(&File, &mut dyn FnMut(Skipped)) -> Result<(), TreeError> + Send + 'static,
    ) -> Self {
        let (done, local) = oneshot::channel();
        let (note, notes) = mpsc::channel();
        std::thread::spawn(move || {
            let pipe = File::from(pipe);
            // Whoever does not listen any more has failed already.
            let outcome = work(&pipe, &mut |skipped| drop(note.send(skipped)));
            drop(done.send(outcome));
            // Last: whoever finds the pipe closed finds the reason there already.
            drop(pipe);
        });
        Self { remote, local, notes }
    }

    /// Sends the request with the other half's descriptor, and follows both halves to their ends. What the
    /// container says about a failure counts more than what this end made of a pipe that broke; where this end
    /// has a reason of its own, that is the cause.
    pub(crate) async fn follow(
        self,
        request: impl AsyncFnOnce(BorrowedFd<'_>) -> Result<EventStream, Failure>,
    ) -> Result<(), Failure> {
        let Self { remote, mut local, notes } = self;
        let mut other = pin!(async move {
            let mut events = request(remote.as_fd()).await?;
            // The other half has a copy; this one would keep the pipe open.
            drop(remote);
            follow(&mut events).await
        });
        let outcome = tokio::select! {
            remote = &mut other => {
                let own = match &remote {
                    Ok(()) => local.await.ok(),
                    Err(_) => local.try_recv().ok(),
                };
                settle(remote, own)
            }
            own = &mut local => match own {
                Ok(Err(error)) if !is_about_the_pipe(&error) => Err(failure(error)),
                own => settle(other.await, own.ok()),
            },
        };
        report(notes);
        outcome
    }
}

/// What came of both halves; `own` is of this end, if it is known.
fn settle(remote: Result<(), Failure>, own: Option<Result<(), TreeError>>) -> Result<(), Failure> {
    match own {
        Some(Err(error)) if remote.is_ok() || !is_about_the_pipe(&error) => Err(failure(error)),
        _ => remote,
    }
}

/// The other side may have closed it: it will say why.
fn is_about_the_pipe(error: &TreeError) -> bool {
    matches!(error, TreeError::Output(_) | TreeError::Archive(_) | TreeError::Empty)
}

/// Reads events until the work is done.
pub(crate) async fn follow(events: &mut EventStream) -> Result<(), Failure> {
    loop {
        match events.next().await? {
            Some(StreamEvent::Notice { message }) => message::warning(&message),
            Some(StreamEvent::Exited { .. }) => return Ok(()),
            Some(_) => return Err(attached::unexpected("about something else")),
            None => return Err(attached::ended_early()),
        }
    }
}

/// A failure at this end.
pub(crate) fn failure(error: TreeError) -> Failure {
    let code = if error.is_not_found() {
        ErrorCode::NotFound
    } else if error.is_refusal() {
        ErrorCode::InvalidArgument
    } else {
        ErrorCode::InternalError
    };
    match std::error::Error::source(&error) {
        Some(source) => Failure::caused_by(code, error.to_string(), source),
        None => Failure::refused(code, error.to_string()),
    }
}

fn report(notes: mpsc::Receiver<Skipped>) {
    for Skipped { path, reason } in notes {
        message::warning(&format!("left out '{}': {reason}", String::from_utf8_lossy(&path)));
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Failure::caused_by(ErrorCode::InternalError, "cannot make a pipe", &error))
}
