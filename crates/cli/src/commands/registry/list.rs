//! `registry list`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::Format;
use crate::output::render;
use crate::services::Services;

/// Arguments of `registry list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Show hosts only
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(arguments: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let registries = block_on(services.call(async |client| client.list_registries().await))?;
    output::print(&render::list(&registries, arguments.format, arguments.quiet)?)?;
    Ok(ExitStatus::Success)
}
