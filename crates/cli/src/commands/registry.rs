//! Registries.

mod list;
mod login;
mod logout;

use clap::Subcommand;

use crate::exit_status::ExitStatus;
use crate::failure::Failure;

/// Commands about registries.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List the registries that you are logged in to
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
    /// Log in to a registry
    Login(login::LoginArguments),
    /// Log out of a registry
    Logout(logout::LogoutArguments),
}

pub(super) fn run(command: RegistryCommand) -> Result<ExitStatus, Failure> {
    match command {
        RegistryCommand::List(arguments) => list::run(&arguments),
        RegistryCommand::Login(arguments) => login::run(arguments),
        RegistryCommand::Logout(arguments) => logout::run(&arguments),
    }
}
