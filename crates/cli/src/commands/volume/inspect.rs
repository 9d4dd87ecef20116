//! `volume inspect`

use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::output::vocabulary::VolumeDetails;
use crate::services::Services;

/// Arguments of `volume inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    /// Format of the output, or a template: '{{.id}}'
    #[arg(short, long, value_parser = format::details_parser::<VolumeDetails>())]
    format: Option<Format>,

    /// Volumes to display
    #[arg(required = true, value_name = "NAMES")]
    names: Vec<Identifier>,
}

pub(super) fn run(arguments: &InspectArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let mut status = ExitStatus::Success;
    let volumes = block_on(async {
        let mut volumes = Vec::new();
        for name in &arguments.names {
            match services.call(async |client| client.volume(name.as_str()).await).await {
                Ok(volume) => volumes.push(VolumeDetails(volume)),
                Err(failure) => status = failure.report(OwnFailure::Plain),
            }
        }
        Ok(volumes)
    })?;
    if status == ExitStatus::Success || !volumes.is_empty() {
        output::print(&render::inspect(&volumes, arguments.format.as_ref())?)?;
    }
    Ok(status)
}
