//! Containers.

pub(crate) mod attach;
pub(crate) mod commit;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod prune;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod wait;

use clap::Subcommand;

use crate::exit_status::OwnFailure;

/// Commands about containers.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Copy files between a container and this host
    #[command(visible_alias = "cp")]
    Copy(copy::CopyArguments),
    /// Attach to the first process of a running container
    Attach(attach::AttachArguments),
    /// Make an image of what a container is
    Commit(commit::CommitArguments),
    /// Create a new container
    Create(Box<create::CreateArguments>),
    /// Delete one or more containers
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
    /// Show how a container's files differ from its image
    Diff(diff::DiffArguments),
    /// Run a further command in a running container
    Exec(Box<exec::ExecArguments>),
    /// Write a container's file system as a tar archive
    Export(export::ExportArguments),
    /// Display everything about one or more containers
    Inspect(inspect::InspectArguments),
    /// Send a signal to one or more running containers
    Kill(kill::KillArguments),
    /// List containers
    #[command(visible_alias = "ls", alias = "ps")]
    List(list::ListArguments),
    /// Fetch the output of a container
    Logs(logs::LogsArguments),
    /// Freeze the processes of one or more running containers
    Pause(pause::PauseArguments),
    /// List the published ports of a container
    Port(port::PortArguments),
    /// Delete all containers that do not run
    Prune(prune::PruneArguments),
    /// Give a container another name
    Rename(rename::RenameArguments),
    /// Stop and start one or more containers
    Restart(restart::RestartArguments),
    /// Run a container
    Run(Box<run::RunArguments>),
    /// Start one or more containers
    Start(start::StartArguments),
    /// Display the use of resources by running containers
    Stats(stats::StatsArguments),
    /// Stop one or more running containers
    Stop(stop::StopArguments),
    /// Display the processes of a running container
    Top(top::TopArguments),
    /// Let the processes of one or more paused containers go on
    Unpause(pause::UnpauseArguments),
    /// Change the restart policy and the machine of one or more containers
    Update(update::UpdateArguments),
    /// Wait for containers to stop and print their exit codes
    Wait(wait::WaitArguments),
}

impl ContainerCommand {
    pub(crate) fn own_failure(&self) -> OwnFailure {
        match self {
            Self::Run(_) => OwnFailure::Run,
            Self::Attach(_) | Self::Exec(_) => OwnFailure::Attach,
            Self::Start(arguments) if arguments.is_attached() => OwnFailure::Attach,
            _ => OwnFailure::Plain,
        }
    }
}
