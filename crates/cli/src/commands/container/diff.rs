//! `diff`

use bulkhead_api::files::Change;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::format::{self, Format};
use crate::output::{self, escape, render};
use crate::services::Services;

/// Arguments of `diff`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiffArguments {
    /// Format of the output, or a template: '{{.path}}'; the table is one line for each change: A added,
    /// C changed, D deleted
    #[arg(long, default_value = "table", value_parser = format::parser::<Change>())]
    format: Format,

    /// Container whose changes are shown
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,
}

pub(crate) fn run(arguments: &DiffArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    let changes = block_on(services.call(async |client| client.container_changes(id).await))?;
    output::print(&match &arguments.format {
        Format::Table => changes.iter().map(line).collect(),
        format => render::objects_as(&changes, format)?,
    })?;
    Ok(ExitStatus::Success)
}

fn line(change: &Change) -> String {
    format!("{} {}\n", change.kind.letter(), escape::text(&change.path))
}
