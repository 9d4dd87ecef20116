//! `start`

use bulkhead_api::container::ContainerState;
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::request::StartRequest;
use clap::Args;

use crate::arguments::{DetachFlags, Identifier, ProgressMode, Selection};
use crate::attached::{Afterwards, Outcome, Session};
use crate::commands::block_on;
use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::services::Services;
use crate::ssh_agent;
use crate::terminal::streams::Streams;

/// Arguments of `start`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StartArguments {
    /// Attach stdout and stderr, wait for the end
    #[arg(short, long)]
    attach: bool,

    /// Attach stdin as well
    #[arg(short, long)]
    interactive: bool,

    #[command(flatten)]
    detach: DetachFlags,

    /// Containers to start, one after the other; with --attach or --interactive one
    #[arg(required = true, value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

impl StartArguments {
    pub(crate) fn is_attached(&self) -> bool {
        self.attach || self.interactive
    }
}

pub(crate) fn run(arguments: &StartArguments) -> Result<ExitStatus, Failure> {
    match arguments.ids.as_slice() {
        [id] if arguments.is_attached() => {
            let services = Services::from_environment()?;
            block_on(attached(arguments, id.as_str(), &services))?.conclude()
        }
        _ if arguments.is_attached() => Err(Failure::refused(
            ErrorCode::InvalidArgument,
            "several containers cannot be started and attached at once",
        )),
        ids => {
            let selection = Selection::resolve("container", false, ids)?;
            let services = Services::from_environment()?;
            block_on(detached(selection, &services))
        }
    }
}

/// One after the other, for who names a database before what asks it means that order.
async fn detached(selection: Selection, services: &Services) -> Result<ExitStatus, Failure> {
    let mut status = ExitStatus::Success;
    for id in super::list::select(services, selection, true).await? {
        match start(&id, services).await {
            Ok(outcome) => {
                outcome.conclude()?;
            }
            Err(failure @ Failure::Signal(_)) => return Err(failure),
            Err(failure) => status = failure.report(OwnFailure::Plain),
        }
    }
    Ok(status)
}

async fn start(id: &str, services: &Services) -> Result<Outcome, Failure> {
    let streams = Streams::detached();
    let request = StartRequest { ssh_agent_socket: ssh_agent::socket(), ..streams.request() };
    let started = async {
        let events = services.call(async |client| client.start_container(id, &request, &[]).await).await?;
        Session::new(services.client().clone(), streams, Progress::new(ProgressMode::Auto))
            .follow(events)
            .await
    };
    match started.await {
        // Starting what runs is no error.
        Err(Failure::Refused(error)) if error.code == ErrorCode::InvalidState => {
            match services.client().container(id).await {
                Ok(snapshot) if snapshot.status.state == ContainerState::Running => {
                    Ok(Outcome::Started(snapshot.id))
                }
                _ => Err(Failure::Refused(error)),
            }
        }
        other => other,
    }
}

async fn attached(arguments: &StartArguments, id: &str, services: &Services) -> Result<Outcome, Failure> {
    let snapshot = services.call(async |client| client.container(id).await).await?;
    if snapshot.status.state == ContainerState::Running {
        return Err(Failure::Refused(
            ApiError::new(ErrorCode::InvalidState, format!("container '{id}' is already running"))
                .with_hint(format!("attach to it with `container attach {id}`")),
        ));
    }
    let terminal = snapshot.configuration.init_process.terminal;
    let streams = Streams::attached(terminal, arguments.interactive, "container start")?
        .leaving_by(&arguments.detach.detach_keys);
    let mut session = Session::new(services.client().clone(), streams, Progress::new(ProgressMode::Auto))
        .leaving(Afterwards::of_container(snapshot.configuration.auto_remove));
    session.hand_over()?;
    let request = StartRequest { ssh_agent_socket: ssh_agent::socket(), ..session.streams().request() };
    let descriptors = session.streams().descriptors();
    let events =
        services.call(async |client| client.start_container(id, &request, &descriptors).await).await?;
    drop(descriptors);
    session.follow(events).await
}
