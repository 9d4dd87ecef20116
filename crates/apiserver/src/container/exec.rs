//! Further processes in a running container.
//!
//! When the client of an attached one goes away, the process gets SIGHUP, as from a terminal that
//! closes; its output is dropped.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::request::ExecRequest;
use bulkhead_runtime_control::{ExitStatus, ProcessSpecification, Request};
use tokio::sync::oneshot;

use super::launch::Order;
use super::registry::Container;
use super::run::Name;
use super::{capabilities, environment, identifier, paths, resource_limits, signals, user};
use crate::error::{from_control, invalid};
use crate::events::EventSink;

/// The guest forks and executes; under load this takes a while. The helper gives up before, and ends
/// what starts later.
pub(super) const START_LIMIT: Duration = Duration::from_secs(35);

/// Exit code of a process that ended with its machine.
const KILLED: i32 = 137;

/// `POST /v1/containers/{id}/exec`
pub(crate) async fn exec(
    container: &Arc<Container>,
    request: ExecRequest,
    descriptors: Vec<OwnedFd>,
    sink: &EventSink,
) -> Result<(), ApiError> {
    let order = Order::new(&request.start, descriptors, request.terminal, request.interactive)?;
    let process = specification(&container.configuration, &request, &order)?;
    let run = container.running().await?;
    let name = identifier::generate();
    tell(container, "exec_create", &name, None);
    let (number, ended) = run.expect_process();
    let mut client = run.first_client(number);
    let outcome =
        run.request(Request::StartProcess { number, process }, &order.borrowed(), START_LIMIT).await;
    if let Err(error) = outcome {
        run.process_ended(number, None);
        return Err(from_control(&container.id, error));
    }
    tell(container, "exec_start", &name, None);
    let ended = telling_of_the_end(container, name, ended);
    let attached = !order.descriptors.is_empty();
    // The helper has its own copies; ours would keep the client's pipes open.
    drop(order);
    let told = sink.send(StreamEvent::Started { id: container.id.clone(), process: number }).await;
    if !attached {
        return Ok(());
    }
    let (mut name, mut ended) = (Name::of(container), ended);
    if told {
        loop {
            tokio::select! {
                status = &mut ended => {
                    let (exit_code, message) = match status {
                        Ok(status) => (status.exit_code, status.message),
                        Err(_) => (KILLED, Some(format!("container '{}' has ended", container.id))),
                    };
                    sink.send(StreamEvent::Exited { exit_code, message }).await;
                    return Ok(());
                }
                reason = client.detached() => {
                    sink.send(StreamEvent::Detached { id: name.id, reason }).await;
                    return Ok(());
                }
                () = name.changed() => {
                    sink.send(StreamEvent::Started { id: name.id.clone(), process: number }).await;
                }
                () = sink.closed() => break,
            }
        }
    }
    let let_go = async {
        client.detach().await?;
        run.ask(Request::Signal { number, signal: signals::HANGUP }).await
    };
    if let Err(error) = let_go.await {
        tracing::debug!(id = container.id, number, "cannot let go of a process: {error}");
    }
    Ok(())
}

/// In Docker's words; but the command line, which Docker shows, may hold secrets.
fn tell(container: &Container, action: &str, name: &str, exit_code: Option<i32>) {
    let mut attributes = vec![("execID", name.to_owned())];
    attributes.extend(exit_code.map(|code| ("exitCode", code.to_string())));
    container.tell(action, &attributes);
}

/// Passes the end on when it was told; also without a client it is.
fn telling_of_the_end(
    container: &Arc<Container>,
    name: String,
    ended: oneshot::Receiver<ExitStatus>,
) -> oneshot::Receiver<ExitStatus> {
    let (sender, receiver) = oneshot::channel();
    let container = Arc::clone(container);
    tokio::spawn(async move {
        let status = ended.await;
        let exit_code = status.as_ref().map_or(KILLED, |status| status.exit_code);
        tell(&container, "exec_die", &name, Some(exit_code));
        if let Ok(status) = status {
            // Nobody may wait.
            drop(sender.send(status));
        }
    });
    receiver
}

pub(super) fn specification(
    configuration: &ContainerConfiguration,
    request: &ExecRequest,
    order: &Order,
) -> Result<ProcessSpecification, ApiError> {
    if request.arguments.first().is_none_or(String::is_empty) {
        return Err(invalid("no command to execute"));
    }
    if request.arguments.iter().any(|word| word.contains('\0')) {
        return Err(invalid("a word of the command contains a zero byte"));
    }
    let first = &configuration.init_process;
    let mut variables = first.environment.clone();
    if request.terminal && !variables.iter().any(|variable| variable.starts_with("TERM=")) {
        variables.push("TERM=xterm".to_owned());
    }
    environment::apply(&mut variables, &request.environment)?;
    let working_directory = match &request.working_directory {
        Some(path) => paths::absolute(path).map(|()| path.clone())?,
        None => first.working_directory.clone(),
    };
    let user = request.user.as_ref().unwrap_or(&first.user);
    user::validate(user)?;
    let mut groups = user::groups(&request.groups)?;
    if request.user.is_none() {
        groups.ids.extend(&first.supplemental_groups);
        groups.names.extend(first.supplemental_group_names.iter().cloned());
    }
    let limits = if request.rlimits.is_empty() { &first.rlimits } else { &request.rlimits };
    Ok(ProcessSpecification {
        arguments: request.arguments.clone(),
        environment: variables,
        working_directory,
        user: user.specification(),
        supplementary_group_ids: groups.ids,
        supplementary_group_names: groups.names,
        terminal: request.terminal,
        terminal_size: order.terminal_size,
        detach_keys: order.detach_keys.clone(),
        stdin: order.stdin(),
        capabilities: if request.privileged {
            capabilities::ALL
        } else {
            capabilities::of_container(configuration)?
        },
        resource_limits: resource_limits::convert(limits)?,
        built_in: None,
        no_new_privileges: configuration.no_new_privileges,
    })
}
