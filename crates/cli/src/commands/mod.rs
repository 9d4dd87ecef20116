//! One file for each command: flags, and what it does with them.

mod bulk;
pub(crate) mod cidfile;
pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod events;
pub(crate) mod help;
pub(crate) mod image;
pub(crate) mod man;
pub(crate) mod network;
pub(crate) mod plugin;
pub(crate) mod registry;
pub(crate) mod system;
pub(crate) mod volume;

use std::future::Future;

use bulkhead_api::error::ErrorCode;

use crate::command_line::Command;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use container::ContainerCommand;

/// Carries a command out.
pub(crate) fn run(command: Command) -> Result<ExitStatus, Failure> {
    match command {
        Command::Container(command) => run_container(command),
        Command::Completion(arguments) => completion::run(&arguments),
        Command::Events(arguments) => events::run(&arguments),
        Command::History(arguments) => image::history::run(&arguments),
        Command::Image(command) => image::run(command),
        Command::Network(command) => network::run(command),
        Command::Registry(command) => registry::run(command),
        Command::System(command) => system::run(command),
        Command::Volume(command) => volume::run(command),
        Command::Help(arguments) => help::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::Plugin(words) => plugin::run(&words),
    }
}

fn run_container(command: ContainerCommand) -> Result<ExitStatus, Failure> {
    match command {
        ContainerCommand::Copy(arguments) => container::copy::run(&arguments),
        ContainerCommand::Attach(arguments) => container::attach::run(&arguments),
        ContainerCommand::Commit(arguments) => container::commit::run(&arguments),
        ContainerCommand::Create(arguments) => container::create::run(&arguments),
        ContainerCommand::Delete(arguments) => container::delete::run(&arguments),
        ContainerCommand::Diff(arguments) => container::diff::run(&arguments),
        ContainerCommand::Exec(arguments) => container::exec::run(&arguments),
        ContainerCommand::Export(arguments) => container::export::run(&arguments),
        ContainerCommand::Inspect(arguments) => container::inspect::run(&arguments),
        ContainerCommand::Kill(arguments) => container::kill::run(&arguments),
        ContainerCommand::List(arguments) => container::list::run(&arguments),
        ContainerCommand::Logs(arguments) => container::logs::run(&arguments),
        ContainerCommand::Pause(arguments) => container::pause::pause(&arguments),
        ContainerCommand::Port(arguments) => container::port::run(&arguments),
        ContainerCommand::Prune(arguments) => container::prune::run(&arguments),
        ContainerCommand::Rename(arguments) => container::rename::run(&arguments),
        ContainerCommand::Restart(arguments) => container::restart::run(&arguments),
        ContainerCommand::Run(arguments) => container::run::run(&arguments),
        ContainerCommand::Start(arguments) => container::start::run(&arguments),
        ContainerCommand::Stats(arguments) => container::stats::run(&arguments),
        ContainerCommand::Stop(arguments) => container::stop::run(&arguments),
        ContainerCommand::Top(arguments) => container::top::run(&arguments),
        ContainerCommand::Unpause(arguments) => container::pause::unpause(&arguments),
        ContainerCommand::Update(arguments) => container::update::run(&arguments),
        ContainerCommand::Wait(arguments) => container::wait::run(&arguments),
    }
}

/// Runs the asynchronous part of a command on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::caused_by(ErrorCode::InternalError, "cannot start the event loop", &error)
    })?;
    runtime.block_on(work)
}
