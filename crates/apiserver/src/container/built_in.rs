//! What vminitd does with a container's files and processes, whether the container runs or not.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::event::StreamEvent;
use bulkhead_api::files::{ExtractRequest, PackRequest, Placement};
use bulkhead_guest_protocol::built_in::{FAILED, NOT_FOUND, REFUSED, SUCCESS};
use bulkhead_runtime_control::{
    BuiltIn, DescriptorPurpose, ExitReason, ExitStatus, ProcessSpecification, Request,
};
use bulkhead_state::ExitRecord;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::launch::Order;
use super::registry::Container;
use super::running::Run;
use super::{exec, paths, signals};
use crate::error::{failed, from_control, invalid, printable};
use crate::events::EventSink;

/// The most that is kept of what a built-in says on stderr.
const MAXIMUM_NOTES_BYTES: usize = 64 * 1024;

/// 128 and SIGKILL.
const KILLED: u8 = 137;

/// `POST /v1/containers/{id}/files/pack`
pub(crate) async fn pack(
    container: &Arc<Container>,
    request: PackRequest,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    paths::absolute(&request.path)?;
    let PackRequest { path, follow_link, name } = request;
    let work = BuiltIn::PackTree { path, follow_link, name };
    follow(container, work, "archive-path", (DescriptorPurpose::Stdout, descriptors), sink).await
}

/// `POST /v1/containers/{id}/files/extract`
pub(crate) async fn extract(
    container: &Arc<Container>,
    request: ExtractRequest,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    paths::absolute(&request.path)?;
    let ExtractRequest { path, placement, keep_owner } = request;
    let (unpack, source_name, contents_only) = match placement {
        Placement::Unpack => (true, String::new(), false),
        Placement::Copy { source_name, contents_only } => (false, source_name, contents_only),
    };
    let work = BuiltIn::ExtractArchive { path, unpack, source_name, contents_only, keep_owner };
    follow(container, work, "extract-to-dir", (DescriptorPurpose::Stdin, descriptors), sink).await
}

/// `POST /v1/containers/{id}/export`
pub(crate) async fn export(
    container: &Arc<Container>,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    follow(container, BuiltIn::Export, "export", (DescriptorPurpose::Stdout, descriptors), sink).await
}

/// Runs a work on the client's descriptor, and ends it with the client. The event tells that it was done.
async fn follow(
    container: &Arc<Container>,
    work: BuiltIn,
    event: &str,
    (purpose, descriptors): (DescriptorPurpose, Vec<OwnedFd>),
    sink: &EventSink,
) -> Result<(), ApiError> {
    let count = descriptors.len();
    let Ok([descriptor]) = <[OwnedFd; 1]>::try_from(descriptors) else {
        return Err(invalid(format!("the request needs one descriptor and brings {count}")));
    };
    let mut running = start(container, work, (purpose, descriptor)).await?;
    let finished = tokio::select! {
        finished = running.finished() => finished,
        () = sink.closed() => {
            running.cancel().await;
            return Ok(());
        }
    };
    let notes = finished?;
    container.tell(event, &[]);
    for note in notes {
        sink.notice(note).await;
    }
    sink.send(StreamEvent::Exited { exit_code: 0, message: None }).await;
    Ok(())
}

/// A work under way.
#[derive(Debug)]
pub(super) struct Running {
    id: String,
    run: Arc<Run>,
    /// In a running container; else the whole machine is for it.
    process: Option<(u32, oneshot::Receiver<ExitStatus>)>,
    notes: JoinHandle<Vec<u8>>,
}

/// Starts a work with its input or output; boots a machine for it if the container is stopped.
pub(super) async fn start(
    container: &Arc<Container>,
    work: BuiltIn,
    stream: (DescriptorPurpose, OwnedFd),
) -> Result<Running, ApiError> {
    let id = container.id.clone();
    let (reader, writer) = pipe(&id)?;
    let notes = tokio::spawn(read_notes(reader));
    let order = Order { descriptors: vec![stream, (DescriptorPurpose::Stderr, writer)], ..Order::default() };
    let Some(run) = container.settled_run().await else {
        let run = container.maintain(work, order).await?;
        return Ok(Running { id, run, process: None, notes });
    };
    let (number, ended) = run.expect_process();
    if matches!(work, BuiltIn::Export | BuiltIn::PackChanges { freeze: true }) {
        run.stands_still_for(number);
    }
    let process = ProcessSpecification::of_built_in(work);
    let outcome =
        run.request(Request::StartProcess { number, process }, &order.borrowed(), exec::START_LIMIT).await;
    if let Err(error) = outcome {
        run.process_ended(number, None);
        return Err(from_control(&id, error));
    }
    // The helper has its own copies; ours would keep the pipes open.
    drop(order);
    Ok(Running { id, run, process: Some((number, ended)), notes })
}

/// How a work came to its end.
#[derive(Debug)]
enum Ending {
    /// By itself. `unwritten` says why the client's descriptor did not take all that it wrote.
    Work { exit_code: i32, unwritten: Option<String> },
    /// With its machine, and why.
    Machine(Option<String>),
}

impl Ending {
    /// In a running container.
    fn of_process(status: ExitStatus) -> Self {
        let reason = status.message.as_deref().map(printable);
        match status.reason {
            ExitReason::ProcessExited => Self::Work { exit_code: status.exit_code, unwritten: reason },
            _ => Self::Machine(reason),
        }
    }

    /// In a machine of its own. One that is lost ends as if by SIGKILL, one that does not start with Docker's
    /// codes (exit.rs of the runtime); with any other, a reason is about what the work wrote.
    fn of_machine(exit: ExitRecord) -> Self {
        match (exit.exit_code, exit.reason) {
            (125..=127 | 137, reason @ Some(_)) => Self::Machine(reason),
            (exit_code, unwritten) => Self::Work { exit_code, unwritten },
        }
    }
}

impl Running {
    /// Waits for the end; returns what was said on the way.
    pub(super) async fn finished(&mut self) -> Result<Vec<String>, ApiError> {
        let ending = match &mut self.process {
            Some((_, ended)) => ended.await.map_or(Ending::Machine(None), Ending::of_process),
            None => Ending::of_machine(self.run.ended().await),
        };
        let notes = (&mut self.notes).await.unwrap_or_default();
        let mut lines: Vec<String> = String::from_utf8_lossy(&notes).lines().map(printable).collect();
        let id = &self.id;
        let exit_code = match ending {
            Ending::Work { exit_code, unwritten: None } => exit_code,
            Ending::Work { unwritten: Some(reason), .. } => {
                let message = format!("the files of container '{id}' did not reach the host: {reason}");
                return Err(ApiError::new(ErrorCode::InternalError, message));
            }
            Ending::Machine(reason) => {
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                let message = format!("container '{id}' ended before the work was done{reason}");
                return Err(ApiError::new(ErrorCode::InternalError, message));
            }
        };
        let code = u8::try_from(exit_code).ok();
        let kind = match code {
            Some(SUCCESS) => return Ok(lines),
            Some(NOT_FOUND) => ErrorCode::NotFound,
            Some(REFUSED) => ErrorCode::InvalidArgument,
            _ => ErrorCode::InternalError,
        };
        let reason = match code {
            Some(FAILED | NOT_FOUND | REFUSED) => lines.pop(),
            _ => None,
        };
        let killed = code == Some(KILLED);
        let reason = reason
            .or_else(|| killed.then(|| "what read its files was killed, as 'container stop' does".to_owned()))
            .unwrap_or_else(|| format!("what reads or writes its files was ended (exit code {exit_code})"));
        Err(ApiError::new(kind, format!("container '{id}': {reason}")))
    }

    /// Ends it at once.
    pub(super) async fn cancel(self) {
        let Some((number, _)) = self.process else {
            self.run.kill(true).await;
            return;
        };
        for request in
            [Request::Detach { number, client: Some(0) }, Request::Signal { number, signal: signals::KILL }]
        {
            if let Err(error) = self.run.ask(request).await {
                tracing::debug!(id = self.id, number, "cannot end a work: {error}");
            }
        }
    }
}

/// A pipe whose reading end does not block.
pub(super) fn pipe(id: &str) -> Result<(pipe::Receiver, OwnedFd), ApiError> {
    let made = || -> std::io::Result<_> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok((pipe::Receiver::from_owned_fd(reader)?, writer))
    };
    made().map_err(|error| failed(format!("cannot make a pipe for container '{id}'"), &error))
}

/// Keeps the end of it, which says most.
async fn read_notes(mut reader: pipe::Receiver) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * MAXIMUM_NOTES_BYTES {
            kept.drain(..kept.len() - MAXIMUM_NOTES_BYTES);
        }
    }
    kept
}
