//! `inspect`

use clap::Args;

use crate::arguments::{Identifier, InspectedFlags};
use crate::commands::block_on;
use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::output::vocabulary::ContainerDetails;
use crate::services::Services;

/// Arguments of `inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    /// Format of the output, or a template: '{{.id}}'
    #[arg(short, long, value_parser = format::details_parser::<ContainerDetails>())]
    format: Option<Format>,

    #[command(flatten)]
    inspected: InspectedFlags,

    /// Containers to display
    #[arg(required = true, value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &InspectArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let mut status = ExitStatus::Success;
    let containers = block_on(async {
        let mut containers = Vec::new();
        for id in &arguments.ids {
            match services.call(async |client| client.container(id.as_str()).await).await {
                Ok(container) => containers.push(ContainerDetails(container)),
                Err(failure) => status = failure.report(OwnFailure::Plain),
            }
        }
        Ok(containers)
    })?;
    if status == ExitStatus::Success || !containers.is_empty() {
        output::print(&render::inspect(&containers, arguments.format.as_ref())?)?;
    }
    Ok(status)
}
