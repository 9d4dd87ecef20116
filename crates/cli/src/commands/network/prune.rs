//! `network prune`

use clap::Args;

use crate::arguments::NoQuestion;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::services::Services;

/// Arguments of `network prune`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    no_question: NoQuestion,
}

pub(super) fn run(_arguments: &PruneArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let pruned = block_on(services.call(async |client| client.prune_networks().await))?;
    output::print(&pruned.names.iter().map(|name| format!("{}\n", escape::text(name))).collect::<String>())?;
    Ok(ExitStatus::Success)
}
