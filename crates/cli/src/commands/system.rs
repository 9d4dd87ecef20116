//! Container services.

mod df;
mod dns;
mod logs;
mod property;
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
    /// Show what takes how much of the disk
    Df(df::DiskUsageArguments),
    /// Let the host find containers by name
    #[command(subcommand, arg_required_else_help = true)]
    Dns(dns::DnsCommand),
    /// Show what container services have logged
    Logs(logs::LogsArguments),
    /// Show what is configured
    #[command(subcommand, arg_required_else_help = true)]
    Property(property::PropertyCommand),
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
        SystemCommand::Df(arguments) => df::run(&arguments),
        SystemCommand::Dns(command) => dns::run(&command),
        SystemCommand::Logs(arguments) => logs::run(&arguments),
        SystemCommand::Property(command) => property::run(&command),
        SystemCommand::Start(arguments) => start::run(&arguments),
        SystemCommand::Stop(arguments) => stop::run(&arguments),
        SystemCommand::Status(arguments) => status::run(&arguments),
        SystemCommand::Version(arguments) => version::run(&arguments),
    }
}
