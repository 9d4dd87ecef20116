//! `network inspect`

use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::output::vocabulary::NetworkDetails;
use crate::services::Services;

/// Arguments of `network inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    /// Format of the output, or a template: '{{.id}}'
    #[arg(short, long, value_parser = format::details_parser::<NetworkDetails>())]
    format: Option<Format>,

    /// Networks to display
    #[arg(required = true, value_name = "NETWORK-NAMES")]
    names: Vec<Identifier>,
}

pub(super) fn run(arguments: &InspectArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let mut status = ExitStatus::Success;
    let networks = block_on(async {
        let mut networks = Vec::new();
        for name in &arguments.names {
            match services.call(async |client| client.network(name.as_str()).await).await {
                Ok(network) => networks.push(NetworkDetails(network)),
                Err(failure) => status = failure.report(OwnFailure::Plain),
            }
        }
        Ok(networks)
    })?;
    if status == ExitStatus::Success || !networks.is_empty() {
        output::print(&render::inspect(&networks, arguments.format.as_ref())?)?;
    }
    Ok(status)
}
