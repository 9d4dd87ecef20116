//! Container services.

mod start;
mod status;
mod stop;
mod version;

use clap::Subcommand;

use crate::exit_status::ExitStatus;
use crate::failure::Failure;

/// Commands about container services.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Start container services
    Start(start::StartArguments),
    /// Stop all containers and container services
    Stop(stop::StopArguments),
    /// Show how container services are
    Status(status::StatusArguments),
    /// Show the versions of the programs
    Version(version::VersionArguments),
}

pub(super) fn run(command: SystemCommand) -> Result<ExitStatus, Failure> {
    match command {
        SystemCommand::Start(arguments) => start::run(&arguments),
        SystemCommand::Stop(arguments) => stop::run(&arguments),
        SystemCommand::Status(arguments) => status::run(&arguments),
        SystemCommand::Version(arguments) => version::run(&arguments),
    }
}
