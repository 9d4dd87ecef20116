//! `image history`

use clap::Args;

use crate::arguments::{Identifier, Truth};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::output::vocabulary::HistoryRow;
use crate::services::Services;
use crate::values::platform;

/// Arguments of `image history`.
#[derive(Args, Clone, Debug)]
pub(crate) struct HistoryArguments {
    /// Format of the output, or a template: '{{.createdBy}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<HistoryRow>())]
    format: Format,

    /// Show sizes and times for people; with =false, bytes and dates
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "true", default_missing_value = "true")]
    human: Truth,

    /// Show commands and ids in full
    #[arg(long)]
    no_trunc: bool,

    /// Of this platform
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<String>,

    /// Show ids only
    #[arg(short, long)]
    quiet: bool,

    /// Image whose history is shown
    #[arg(value_name = "IMAGE")]
    image: Identifier,
}

pub(crate) fn run(arguments: &HistoryArguments) -> Result<ExitStatus, Failure> {
    // A wish of the environment is no reason to refuse an image that has one platform.
    let platform = arguments.platform.as_deref().map(platform::named).transpose().map_err(|error| {
        Failure::Usage { message: error.to_string(), command: "container image history".to_owned() }
    })?;
    let services = Services::from_environment()?;
    let image = arguments.image.as_str();
    let found = services.call(async |client| client.image_history(image, platform.as_deref()).await);
    let rows: Vec<HistoryRow> = block_on(found)?
        .into_iter()
        .map(|step| HistoryRow::new(step, arguments.no_trunc, arguments.human.is_true()))
        .collect();
    output::print(&render::list(&rows, &arguments.format, arguments.quiet)?)?;
    Ok(ExitStatus::Success)
}
