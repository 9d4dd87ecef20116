//! `run`

use bulkhead_api::request::RunRequest;
use clap::Args;

use crate::arguments::{CreateFlags, DetachFlags, ProgressFlags, SigProxyFlag};
use crate::attached::{Afterwards, Session};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::ssh_agent;
use crate::terminal::streams::{StandardStream, Streams};

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    detach_keys: DetachFlags,
    #[command(flatten)]
    signals: SigProxyFlag,
    /// Lend the process only these of this command's streams: stdin, stdout, stderr
    #[arg(
        long,
        value_name = "STREAM",
        conflicts_with = "detach",
        ignore_case = true,
        hide_possible_values = true
    )]
    attach: Vec<StandardStream>,
    #[command(flatten)]
    progress: ProgressFlags,
    #[command(flatten)]
    create: CreateFlags,
}

pub(crate) fn run(arguments: &RunArguments) -> Result<ExitStatus, Failure> {
    const COMMAND: &str = "container run";
    let create = arguments.create.resolve(COMMAND)?;
    let streams = if arguments.create.management.detach {
        Streams::detached()
    } else {
        Streams::of_these(&arguments.attach, create.terminal, create.interactive, COMMAND)?
    };
    let streams = streams.leaving_by(&arguments.detach_keys.detach_keys);
    let mut start = streams.request();
    if create.ssh {
        start.ssh_agent_socket = Some(ssh_agent::required()?);
    }
    let request = RunRequest { create, start };
    let services = Services::from_environment()?;
    let progress = arguments.create.progress(arguments.progress.progress);
    let session = Session::new(services.client().clone(), streams, progress)
        .leaving(Afterwards::of_container(request.create.auto_remove))
        .with_cidfile(arguments.create.management.cidfile.as_deref())?;
    let session = if arguments.signals.sig_proxy { session } else { session.keeping_signals() };
    let outcome = block_on(async {
        let descriptors = session.streams().descriptors();
        let events = services.call(async |client| client.run(&request, &descriptors).await).await?;
        drop(descriptors);
        session.follow(events).await
    })?;
    outcome.conclude()
}
