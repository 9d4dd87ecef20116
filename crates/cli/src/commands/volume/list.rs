//! `volume list`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::Format;
use crate::output::render;
use crate::services::Services;

/// Arguments of `volume list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Show names only
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(arguments: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let volumes = block_on(services.call(async |client| client.list_volumes().await))?;
    output::print(&render::list(&volumes, arguments.format, arguments.quiet)?)?;
    Ok(ExitStatus::Success)
}
