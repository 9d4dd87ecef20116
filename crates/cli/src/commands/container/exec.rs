//! `exec`

use bulkhead_api::request::ExecRequest;
use clap::Args;

use crate::arguments::{DetachFlags, ProcessFlags, ProgressMode};
use crate::attached::{Afterwards, Session};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::services::Services;
use crate::terminal::streams::Streams;
use crate::values::InvalidValue;

const COMMAND: &str = "container exec";

/// Arguments of `exec`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExecArguments {
    /// Start the command and leave it running
    #[arg(short, long)]
    detach: bool,

    /// Give the command every capability
    #[arg(long)]
    privileged: bool,

    #[command(flatten)]
    detach_keys: DetachFlags,

    #[command(flatten)]
    process: ProcessFlags,

    /// Container, and what to run in it; everything after the container is passed on
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER-ID", "ARGUMENTS"])]
    words: Vec<String>,
}

pub(crate) fn run(arguments: &ExecArguments) -> Result<ExitStatus, Failure> {
    let streams = if arguments.detach {
        Streams::detached()
    } else {
        Streams::attached(arguments.process.tty, arguments.process.interactive, COMMAND)?
    };
    let streams = streams.leaving_by(&arguments.detach_keys.detach_keys);
    let (id, request) = resolve(arguments, &streams)?;
    let services = Services::from_environment()?;
    let mut session = Session::new(services.client().clone(), streams, Progress::new(ProgressMode::None))
        .leaving(Afterwards::IsHungUp);
    let outcome = block_on(async {
        session.hand_over()?;
        let descriptors = session.streams().descriptors();
        let events = services.call(async |client| client.exec(id, &request, &descriptors).await).await?;
        drop(descriptors);
        session.follow(events).await
    })?;
    outcome.conclude()
}

fn resolve<'a>(arguments: &'a ExecArguments, streams: &Streams) -> Result<(&'a str, ExecRequest), Failure> {
    let usage =
        |error: InvalidValue| Failure::Usage { message: error.to_string(), command: COMMAND.to_owned() };
    let (id, words) = match arguments.words.split_first() {
        Some((id, words)) if !id.is_empty() && !words.is_empty() => (id, words.to_vec()),
        _ => return Err(usage(InvalidValue("expected a container and a command".to_owned()))),
    };
    let process = &arguments.process;
    let request = ExecRequest {
        arguments: words,
        environment: process.environment().map_err(usage)?,
        working_directory: process.working_directory(),
        user: process.user(),
        groups: process.group().into_iter().collect(),
        privileged: arguments.privileged,
        terminal: process.tty,
        interactive: process.interactive,
        rlimits: process.limits().map_err(usage)?,
        start: streams.request(),
    };
    Ok((id, request))
}
