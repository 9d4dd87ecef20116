//! `system status`

use std::io;

use bulkhead_api::system::SystemStatus;
use bulkhead_client::ClientError;
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::{render, system};
use crate::services::{self, Services};

/// Arguments of `system status`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArguments {
    /// Accepted for compatibility: there is one set of services for each user
    #[arg(short, long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Format of the output, or a template: '{{.status}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<SystemStatus>())]
    format: Format,
}

pub(super) fn run(arguments: &StatusArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let outcome = block_on(async { Ok(services.client().system_status().await) })?;
    let (status, exit) = match outcome {
        Ok(status) => (status, ExitStatus::Success),
        Err(ClientError::Unreachable { source, .. }) if services::is_absent(&source) => {
            // A socket without a listener is what a killed apiserver leaves.
            let word = match source.kind() {
                io::ErrorKind::NotFound => "unregistered",
                _ => "not running",
            };
            (system::absent(word), ExitStatus::Failure)
        }
        Err(error) => return Err(error.into()),
    };
    let text = match (&arguments.format, exit) {
        (Format::Table, ExitStatus::Success) => system::status_table(&status),
        (Format::Table, _) => "container services are not running".to_owned(),
        (format, _) => render::object_as(&status, format)?,
    };
    output::print(&text)?;
    Ok(exit)
}
