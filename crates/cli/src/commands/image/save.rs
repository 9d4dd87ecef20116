//! `image save`

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use bulkhead_api::error::ErrorCode;
use bulkhead_api::request::SaveRequest;
use clap::Args;

use crate::arguments::{Identifier, ImagePlatformFlags, ProgressMode};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::progress::Progress;
use crate::output::whole_file::WholeFile;
use crate::output::{escape, message};
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
    match &arguments.output {
        Some(path) => {
            let unwritable = |error: io::Error| {
                let message = format!("cannot write '{}'", path.display());
                Failure::caused_by(ErrorCode::InvalidArgument, message, &error)
            };
            let file = WholeFile::create(path).map_err(unwritable)?;
            let saved = save(&services, &request, file.as_fd().try_clone_to_owned().map_err(unwritable)?)?;
            file.publish().map_err(unwritable)?;
            output::print(&saved.iter().map(|name| format!("{}\n", escape::text(name))).collect::<String>())?;
        }
        None if io::stdout().is_terminal() => {
            return Err(Failure::Usage {
                message: "stdout is a terminal: name a file with --output".to_owned(),
                command: "container image save".to_owned(),
            });
        }
        None => {
            let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(Failure::Output)?;
            for name in save(&services, &request, stdout)? {
                message::line(&escape::text(&name));
            }
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
