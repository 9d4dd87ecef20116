//! `system dns`

mod create;
mod delete;
mod list;

use clap::Subcommand;

use crate::arguments::ListFlags;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;

/// Commands about domains of the host.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Let the host find containers by their names below a domain; needs root
    Create(create::CreateArguments),
    /// Delete a domain; needs root
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
    /// List domains
    #[command(visible_alias = "ls")]
    List(ListFlags<String>),
}

pub(super) fn run(command: &DnsCommand) -> Result<ExitStatus, Failure> {
    match command {
        DnsCommand::Create(arguments) => create::run(arguments),
        DnsCommand::Delete(arguments) => delete::run(arguments),
        DnsCommand::List(arguments) => list::run(arguments),
    }
}
