//! `top`

use bulkhead_api::observation::ProcessEntry;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::{processes, render};
use crate::services::Services;
use crate::values::process_columns;

/// Arguments of `top`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopArguments {
    /// Format of the output, or a template: '{{.pid}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<ProcessEntry>())]
    format: Format,

    /// Container whose processes are shown
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,

    /// Columns of the table, as options of ps: -ef, aux, -o pid,user,args; users are shown by number
    #[arg(value_name = "PS-OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    columns: Vec<String>,
}

pub(crate) fn run(arguments: &TopArguments) -> Result<ExitStatus, Failure> {
    let columns = process_columns::parse(&arguments.columns).map_err(|error| Failure::Usage {
        message: error.to_string(),
        command: "container top".to_owned(),
    })?;
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    let list = block_on(services.call(async |client| client.container_processes(id).await))?;
    output::print(&match &arguments.format {
        Format::Table => {
            let container = block_on(services.call(async |client| client.container(id).await))?;
            processes::table(&list, &columns, container.configuration.resources.memory_in_bytes)
        }
        format => render::objects_as(&list, format)?,
    })?;
    Ok(ExitStatus::Success)
}
