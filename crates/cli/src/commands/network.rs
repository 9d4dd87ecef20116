//! Networks.

mod list;

use clap::Subcommand;

use crate::exit_status::ExitStatus;
use crate::failure::Failure;

/// Commands about networks.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// List networks
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
}

pub(super) fn run(command: NetworkCommand) -> Result<ExitStatus, Failure> {
    match command {
        NetworkCommand::List(arguments) => list::run(&arguments),
    }
}
