//! Containers.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod exec;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod stop;

use clap::Subcommand;

use crate::exit_status::OwnFailure;

/// Commands about containers.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Create a new container
    Create(Box<create::CreateArguments>),
    /// Delete one or more containers
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
    /// Run a further command in a running container
    Exec(Box<exec::ExecArguments>),
    /// Display everything about one or more containers
    Inspect(inspect::InspectArguments),
    /// Send a signal to one or more running containers
    Kill(kill::KillArguments),
    /// List containers
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
    /// Fetch the output of a container
    Logs(logs::LogsArguments),
    /// Run a container
    Run(Box<run::RunArguments>),
    /// Start a container
    Start(start::StartArguments),
    /// Stop one or more running containers
    Stop(stop::StopArguments),
}

impl ContainerCommand {
    pub(crate) fn own_failure(&self) -> OwnFailure {
        match self {
            Self::Run(_) => OwnFailure::Run,
            Self::Exec(_) => OwnFailure::Attach,
            Self::Start(arguments) if arguments.is_attached() => OwnFailure::Attach,
            _ => OwnFailure::Plain,
        }
    }
}
