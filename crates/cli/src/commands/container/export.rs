//! `export`

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::archive;
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
    archive::write_to(arguments.output.as_deref(), "container export", |output| {
        export(&services, arguments.id.as_str(), output)
    })?;
    Ok(ExitStatus::Success)
}

fn export(services: &Services, id: &str, output: OwnedFd) -> Result<(), Failure> {
    block_on(async {
        let mut events =
            services.call(async |client| client.export_container(id, output.as_fd()).await).await?;
        transfer::follow(&mut events).await
    })
}
