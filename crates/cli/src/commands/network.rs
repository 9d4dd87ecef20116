//! Networks.

mod connect;
mod create;
mod delete;
mod disconnect;
mod inspect;
mod list;
mod prune;

use clap::Subcommand;

use crate::exit_status::ExitStatus;
use crate::failure::Failure;

/// Commands about networks.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Have a stopped container join a network when it starts
    Connect(connect::ConnectArguments),
    /// Create a network
    Create(create::CreateArguments),
    /// Delete networks that no container refers to
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
    /// Have a stopped container join a network no more
    Disconnect(disconnect::DisconnectArguments),
    /// Display information about networks
    Inspect(inspect::InspectArguments),
    /// List networks
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
    /// Delete all networks but the default one that no container refers to
    Prune(prune::PruneArguments),
}

pub(super) fn run(command: NetworkCommand) -> Result<ExitStatus, Failure> {
    match command {
        NetworkCommand::Connect(arguments) => connect::run(&arguments),
        NetworkCommand::Create(arguments) => create::run(&arguments),
        NetworkCommand::Delete(arguments) => delete::run(&arguments),
        NetworkCommand::Disconnect(arguments) => disconnect::run(&arguments),
        NetworkCommand::Inspect(arguments) => inspect::run(&arguments),
        NetworkCommand::List(arguments) => list::run(&arguments),
        NetworkCommand::Prune(arguments) => prune::run(&arguments),
    }
}
