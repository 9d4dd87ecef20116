//! `run` and `start`: from the request to the exit code.
//!
//! A client that goes away before the end of an attached run (killed, its terminal closed) is let go
//! of: the container keeps running as if it had been started detached, its output goes to the log.
//! With `--rm` nobody would ever ask for it again: it gets SIGHUP, as a shell's children do when its
//! terminal closes, and KILL five seconds later.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::request::{RunRequest, StartRequest};
use bulkhead_runtime_control::Request;
use tokio::sync::watch;

use super::create::{Created, abandon, reserve};
use super::launch::Order;
use super::registry::Container;
use super::running::{Client, Run};
use super::signals;
use super::status::Status;
use crate::error::from_control;
use crate::events::EventSink;
use crate::machine::Machines;
use crate::service::Service;

/// The helper answers at once; it may be busy on a loaded host.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
/// From SIGHUP to KILL.
const HANGUP_LIMIT: Duration = Duration::from_secs(5);

/// `POST /v1/run`: the record is written while the VM boots.
pub(crate) async fn run(
    service: &Arc<Service>,
    request: RunRequest,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    let RunRequest { create, start } = request;
    let began = Instant::now();
    let order = Order::new(&start, descriptors, create.terminal, create.interactive)?;
    let attached = !order.descriptors.is_empty();
    // Until the name is taken, a client that goes away cancels everything (a pull, above all).
    let created = tokio::select! {
        created = reserve(service, create, sink) => created?,
        () = sink.closed() => return Ok(()),
    };
    let Created { container, committed } = created;
    let reserved = began.elapsed();
    sink.send(StreamEvent::Created { id: container.id.clone() }).await;
    warn(&container, sink).await;
    let (started, recorded) = tokio::join!(container.start(order), committed.wait());
    let run = match recorded.and(started) {
        Ok(run) => run,
        Err(error) => {
            abandon(service, &container).await;
            return Err(error);
        }
    };
    tracing::debug!(id = container.id, ?reserved, started = ?began.elapsed(), "run");
    follow(&container, &run, attached, sink).await;
    tracing::debug!(id = container.id, ended = ?began.elapsed(), "run");
    Ok(())
}

/// `POST /v1/containers/{id}/start`
pub(crate) async fn start(
    container: &Arc<Container>,
    request: StartRequest,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    let order = Order::new(&request, descriptors, container.configuration.init_process.terminal, false)?;
    let attached = !order.descriptors.is_empty();
    warn(container, sink).await;
    let run = container.start(order).await?;
    follow(container, &run, attached, sink).await;
    Ok(())
}

/// Says before the start what may go wrong after it.
async fn warn(container: &Container, sink: &EventSink) {
    if let Some(message) = Machines::warning(container.configuration.resources.memory_in_bytes) {
        sink.send(StreamEvent::Notice { message: format!("warning: {message}") }).await;
    }
}

/// `POST /v1/containers/{id}/attach`
pub(crate) async fn attach(
    container: &Arc<Container>,
    request: StartRequest,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    let order = Order::attached(&request, descriptors, false)?;
    let run = container.running().await?;
    // It would take the place of one that is there.
    if sink.is_closed() {
        return Ok(());
    }
    let client = run.further_client(0);
    let request =
        Request::Attach { number: 0, client: client.number, detach_keys: order.detach_keys.clone() };
    if let Err(error) = run.request(request, &order.borrowed(), ATTACH_LIMIT).await {
        // It may still come to be; then the helper must not keep the user's terminal.
        if let Err(error) = client.detach().await {
            tracing::debug!(id = container.id, "cannot let go of a client: {error}");
        }
        return Err(from_control(&container.id, error));
    }
    // The helper has its own copies; ours would keep the client's pipes open.
    drop(order);
    container.tell("attach", &[]);
    sink.send(StreamEvent::Started { id: container.id.clone(), process: 0 }).await;
    wait(container, &run, client, sink).await;
    Ok(())
}

/// How following a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    /// The client was told.
    Told,
    /// It is gone, and was let go of.
    Gone,
}

/// Tells the client of the start and, if it is attached, of the end.
async fn follow(container: &Arc<Container>, run: &Arc<Run>, attached: bool, sink: &EventSink) {
    let started = StreamEvent::Started { id: container.id.clone(), process: 0 };
    // One that is gone already is noticed right below.
    sink.send(started).await;
    let client_is_gone = attached && wait(container, run, run.first_client(0), sink).await == Followed::Gone;
    if !client_is_gone {
        return;
    }
    tracing::info!(id = container.id, "the attached client is gone");
    if container.configuration.auto_remove
        && let Err(error) = container.stop_run(run, signals::HANGUP, HANGUP_LIMIT).await
    {
        tracing::warn!(id = container.id, "cannot end a container without client: {error}");
    }
}

/// What a container is called, while others may rename it.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) id: String,
    status: watch::Receiver<Status>,
}

impl Name {
    pub(super) fn of(container: &Container) -> Self {
        Self { id: container.id.clone(), status: container.watch() }
    }

    /// Ready when it has another name.
    pub(super) async fn changed(&mut self) {
        let known = self.id.clone();
        let other = self.status.wait_for(|status| status.id != known).await.map(|status| status.id.clone());
        match other {
            Ok(id) => self.id = id,
            // It was removed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Until the run ends, or the client is let go of, or goes.
async fn wait(container: &Container, run: &Run, mut client: Client, sink: &EventSink) -> Followed {
    let mut name = Name::of(container);
    let event = loop {
        tokio::select! {
            exit = run.ended() => {
                break StreamEvent::Exited { exit_code: exit.exit_code, message: exit.reason };
            }
            reason = client.detached() => break StreamEvent::Detached { id: name.id, reason },
            // Signals and sizes go to the name that the client knows.
            () = name.changed() => {
                sink.send(StreamEvent::Started { id: name.id.clone(), process: 0 }).await;
            }
            () = sink.closed() => {
                if let Err(error) = client.detach().await {
                    tracing::debug!(id = container.id, "cannot detach: {error}");
                }
                return Followed::Gone;
            }
        }
    };
    if sink.send(event).await { Followed::Told } else { Followed::Gone }
}
