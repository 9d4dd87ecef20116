//! `system property`

use clap::{Args, Subcommand, ValueEnum};

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::Structure;
use crate::output::{message, properties, render};
use crate::services::Services;

/// Commands about what is configured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PropertyCommand {
    /// List all keys of the configuration, their values in force, and where each comes from
    #[command(visible_alias = "ls")]
    List(ListArguments),
}

/// Arguments of `system property list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Format of the output; toml can be used as a configuration file
    #[arg(long, value_enum, default_value_t)]
    format: PropertyFormat,
}

/// Value of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PropertyFormat {
    #[default]
    Toml,
    Json,
}

pub(super) fn run(command: &PropertyCommand) -> Result<ExitStatus, Failure> {
    let PropertyCommand::List(arguments) = command;
    let services = Services::from_environment()?;
    let values = block_on(async { services.call(async |client| client.system_properties().await).await })?;
    let status = block_on(async { services.call(async |client| client.system_status().await).await })?;
    if let Some(problem) = status.configuration_problem {
        message::warning(&format!("{problem}; these are the values from before"));
    }
    output::print(&match arguments.format {
        PropertyFormat::Toml => properties::toml(&values),
        PropertyFormat::Json => render::structured(&properties::tree(&values), Structure::Json)?,
    })?;
    Ok(ExitStatus::Success)
}
