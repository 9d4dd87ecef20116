//! `top`

use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::Format;
use crate::output::render;
use crate::services::Services;

/// Arguments of `top`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopArguments {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Container whose processes are shown
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,
}

pub(crate) fn run(arguments: &TopArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    let processes = block_on(services.call(async |client| client.container_processes(id).await))?;
    output::print(&render::list(&processes, arguments.format, false)?)?;
    Ok(ExitStatus::Success)
}
