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

use super::create::{Created, abandon, reserve};
use super::launch::Order;
use super::registry::Container;
use super::running::Run;
use super::signals;
use crate::events::EventSink;
use crate::machine::Machines;
use crate::service::Service;

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
            abandon(&container).await;
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

/// Tells the client of the start and, if it is attached, of the end.
async fn follow(container: &Arc<Container>, run: &Arc<Run>, attached: bool, sink: &EventSink) {
    let started = StreamEvent::Started { id: container.id.clone(), process: 0 };
    let told = sink.send(started).await;
    if !attached {
        return;
    }
    if told {
        tokio::select! {
            exit = run.ended() => {
                sink.send(StreamEvent::Exited { exit_code: exit.exit_code, message: exit.reason }).await;
                return;
            }
            () = sink.closed() => {}
        }
    }
    tracing::info!(id = container.id, "the attached client is gone");
    if let Err(error) = run.ask(Request::Detach { number: 0 }).await {
        tracing::debug!(id = container.id, "cannot detach: {error}");
    }
    if container.configuration.auto_remove
        && let Err(error) = container.stop_run(run, signals::HANGUP, HANGUP_LIMIT).await
    {
        tracing::warn!(id = container.id, "cannot end a container without client: {error}");
    }
}
