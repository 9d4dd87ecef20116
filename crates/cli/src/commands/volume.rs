//! Volumes.

mod create;
mod delete;
mod inspect;
mod list;
mod prune;

use clap::Subcommand;

use crate::exit_status::ExitStatus;
use crate::failure::Failure;

/// Commands about volumes.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Create a volume
    Create(create::CreateArguments),
    /// Delete one or more volumes
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
    /// Display everything about one or more volumes
    Inspect(inspect::InspectArguments),
    /// List volumes
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
    /// Remove volumes that no container has
    Prune(prune::PruneArguments),
}

pub(super) fn run(command: VolumeCommand) -> Result<ExitStatus, Failure> {
    match command {
        VolumeCommand::Create(arguments) => create::run(&arguments),
        VolumeCommand::Delete(arguments) => delete::run(&arguments),
        VolumeCommand::Inspect(arguments) => inspect::run(&arguments),
        VolumeCommand::List(arguments) => list::run(&arguments),
        VolumeCommand::Prune(arguments) => prune::run(&arguments),
    }
}
