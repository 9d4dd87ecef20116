//! Archives on their way between this host's files and a container.
//!
//! The container's end of a pipe travels to the apiserver; a thread works at this end. What comes out of
//! it was said by a guest and is extracted as such: see [`bulkhead_archive::tree`].

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::fd::OwnedFd;
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
        Ok(Self::spawn(reader, move |skipped| {
            let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, File::from(writer)));
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
        Ok(Self::spawn(writer, move |skipped| {
            let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, File::from(reader)));
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
        work: impl FnOnce(&mut dyn FnMut(Skipped)) -> Result<(), TreeError> + Send + 'static,
    ) -> Self {
        let (done, local) = oneshot::channel();
        let (note, notes) = mpsc::channel();
        std::thread::spawn(move || {
            // Whoever does not listen any more has failed already.
            let outcome = work(&mut |skipped| drop(note.send(skipped)));
            drop(done.send(outcome));
        });
        Self { remote, local, notes }
    }

    /// What travels with the request.
    pub(crate) fn remote(&self) -> &OwnedFd {
        &self.remote
    }

    /// Follows both halves to their ends. What the container says about a failure counts more than what
    /// this end made of it: it is the cause, where both fail.
    pub(crate) async fn follow(self, mut events: EventStream) -> Result<(), Failure> {
        let Self { remote, mut local, notes } = self;
        // The other half has a copy; this one would keep the pipe open.
        drop(remote);
        let remote = tokio::select! {
            outcome = follow(&mut events) => outcome,
            outcome = &mut local => match outcome {
                // A pipe that the other side closed: it will say why.
                Ok(Ok(()) | Err(TreeError::Output(_) | TreeError::Archive(_) | TreeError::Empty)) => {
                    let remote = follow(&mut events).await;
                    report(notes);
                    return remote.and(outcome.unwrap_or(Ok(())).map_err(failure));
                }
                Ok(Err(error)) => {
                    report(notes);
                    return Err(failure(error));
                }
                Err(_) => follow(&mut events).await,
            },
        };
        let local = if remote.is_ok() { local.await.unwrap_or(Ok(())) } else { Ok(()) };
        report(notes);
        remote.and(local.map_err(failure))
    }
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
