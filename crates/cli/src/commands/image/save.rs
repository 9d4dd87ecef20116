//! `image save`

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use bulkhead_api::request::SaveRequest;
use clap::Args;

use crate::arguments::{Identifier, ImagePlatformFlags, ProgressMode};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::progress::Progress;
use crate::output::{archive, escape, message};
use crate::services::Services;

/// Arguments of `image save`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SaveArguments {
    #[command(flatten)]
    platform: ImagePlatformFlags,

    /// Archive to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Images to save
    #[arg(required = true, value_name = "REFERENCES")]
    references: Vec<Identifier>,
}

pub(super) fn run(arguments: &SaveArguments) -> Result<ExitStatus, Failure> {
    let request = SaveRequest {
        references: arguments.references.iter().map(|one| one.as_str().to_owned()).collect(),
        platform: arguments.platform.resolve("container image save")?,
    };
    let services = Services::from_environment()?;
    let path = arguments.output.as_deref();
    let saved =
        archive::write_to(path, "container image save", |archive| save(&services, &request, archive))?;
    if path.is_some() {
        output::print(&saved.iter().map(|name| format!("{}\n", escape::text(name))).collect::<String>())?;
    } else {
        // stdout is the archive's.
        for name in saved {
            message::line(&escape::text(&name));
        }
    }
    Ok(ExitStatus::Success)
}

fn save(services: &Services, request: &SaveRequest, archive: OwnedFd) -> Result<Vec<String>, Failure> {
    block_on(async {
        let events = services.call(async |client| client.save_images(request, archive.as_fd()).await).await?;
        super::follow(events, Progress::new(ProgressMode::None)).await
    })
}
