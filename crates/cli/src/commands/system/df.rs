//! `system df`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format, Structure};
use crate::output::vocabulary::DiskUsageRow;
use crate::output::{disk_usage, render};
use crate::services::Services;

/// Arguments of `system df`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiskUsageArguments {
    /// Format of the output, or a template: '{{.images.sizeInBytes}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<DiskUsageRow>())]
    format: Format,
}

pub(super) fn run(arguments: &DiskUsageArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let usage = block_on(async { services.call(async |client| client.disk_usage().await).await })?;
    output::print(&match &arguments.format {
        Format::Table => disk_usage::table(&usage),
        Format::Structured(Structure::Json) => render::pretty(&usage)?,
        // Docker's words are of rows.
        Format::Template(template) if template.mentions(&DiskUsageRow::WORDS) => {
            render::objects_as(&DiskUsageRow::rows(usage), &arguments.format)?
        }
        format => render::object_as(&DiskUsageRow::whole(usage), format)?,
    })?;
    Ok(ExitStatus::Success)
}
