//! `registry list`

use bulkhead_api::registry::RegistryResource;
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::services::Services;

/// Arguments of `registry list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Format of the output, or a template: '{{.name}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<RegistryResource>())]
    format: Format,

    /// Show hosts only
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(arguments: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let registries = block_on(services.call(async |client| client.list_registries().await))?;
    output::print(&render::list(&registries, &arguments.format, arguments.quiet)?)?;
    Ok(ExitStatus::Success)
}
