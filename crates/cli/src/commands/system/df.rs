//! `system df`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::Format;
use crate::output::{disk_usage, render};
use crate::services::Services;

/// Arguments of `system df`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiskUsageArguments {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &DiskUsageArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let usage = block_on(async { services.call(async |client| client.disk_usage().await).await })?;
    output::print(&match arguments.format {
        Format::Table => disk_usage::table(&usage),
        Format::Json => render::pretty(&usage)?,
        format => render::structured(&usage, format)?,
    })?;
    Ok(ExitStatus::Success)
}
