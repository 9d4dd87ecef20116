//! `export`

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use bulkhead_api::error::ErrorCode;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::whole_file::WholeFile;
use crate::services::Services;
use crate::transfer;

/// Arguments of `export`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArguments {
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Container whose file system is written
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,
}

pub(crate) fn run(arguments: &ExportArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    match &arguments.output {
        Some(path) => {
            let unwritable = |error: io::Error| {
                let message = format!("cannot write '{}'", path.display());
                Failure::caused_by(ErrorCode::InvalidArgument, message, &error)
            };
            let file = WholeFile::create(path).map_err(unwritable)?;
            export(&services, arguments.id.as_str(), file.as_fd().try_clone_to_owned().map_err(unwritable)?)?;
            file.publish().map_err(unwritable)?;
        }
        None if io::stdout().is_terminal() => {
            return Err(Failure::Usage {
                message: "stdout is a terminal: name a file with --output".to_owned(),
                command: "container export".to_owned(),
            });
        }
        None => {
            let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(Failure::Output)?;
            export(&services, arguments.id.as_str(), stdout)?;
        }
    }
    Ok(ExitStatus::Success)
}

fn export(services: &Services, id: &str, output: OwnedFd) -> Result<(), Failure> {
    block_on(async {
        let mut events =
            services.call(async |client| client.export_container(id, output.as_fd()).await).await?;
        transfer::follow(&mut events).await
    })
}
