//! `volume prune`

use clap::Args;

use crate::arguments::NoQuestion;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::{escape, images, message};
use crate::services::Services;

/// Arguments of `volume prune`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PruneArguments {
    /// Does nothing: volumes with names are removed, too
    #[arg(short, long, hide = true)]
    all: bool,

    #[command(flatten)]
    no_question: NoQuestion,
}

pub(super) fn run(_arguments: &PruneArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let pruned = block_on(services.call(async |client| client.prune_volumes().await))?;
    let names = pruned.names.iter().map(|name| format!("{}\n", escape::text(name)));
    output::print(&names.collect::<String>())?;
    message::line(&format!("Reclaimed {} in disk space", images::size(pruned.reclaimed_bytes)));
    Ok(ExitStatus::Success)
}
