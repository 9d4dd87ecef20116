//! `image inspect`

use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::output::vocabulary::ImageDetails;
use crate::services::Services;

/// Arguments of `image inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    /// Format of the output, or a template: '{{.id}}'
    #[arg(short, long, value_parser = format::details_parser::<ImageDetails>())]
    format: Option<Format>,

    /// Images to display
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<Identifier>,
}

pub(super) fn run(arguments: &InspectArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let mut status = ExitStatus::Success;
    let images = block_on(async {
        let mut images = Vec::new();
        for image in &arguments.images {
            match services.call(async |client| client.image(image.as_str()).await).await {
                Ok(image) => images.push(ImageDetails(image)),
                Err(failure) => status = failure.report(OwnFailure::Plain),
            }
        }
        Ok(images)
    })?;
    if status == ExitStatus::Success || !images.is_empty() {
        output::print(&render::inspect(&images, arguments.format.as_ref())?)?;
    }
    Ok(status)
}
