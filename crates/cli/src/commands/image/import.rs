//! `image import`

use std::os::fd::{AsFd, OwnedFd};

use bulkhead_api::request::ImportRequest;
use clap::Args;

use super::load;
use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::values::platform::{self, PlatformFlags, Precedence};

const COMMAND: &str = "container image import";

/// Arguments of `image import`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArguments {
    /// Change a default of the image's containers, as a Dockerfile does: 'CMD ["nginx"]', ENV, EXPOSE, …
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,

    /// Note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// What its programs are for [default: this host] [environment: CONTAINER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<String>,

    /// Archive to read, compressed by gzip or zstd, or not; - is stdin
    #[arg(value_name = "FILE")]
    file: String,

    /// Name of the image [default: none, only its id]
    #[arg(value_name = "NAME[:TAG]")]
    reference: Option<Identifier>,
}

pub(super) fn run(arguments: &ImportArguments) -> Result<ExitStatus, Failure> {
    let usage = |message: String| Failure::Usage { message, command: COMMAND.to_owned() };
    let file = &arguments.file;
    if file.starts_with("http://") || file.starts_with("https://") {
        return Err(usage(
            "nothing is imported from elsewhere: curl -L URL | container image import -".to_owned(),
        ));
    }
    let flags = PlatformFlags { platform: arguments.platform.as_deref(), os: None, architecture: None };
    let platform =
        platform::resolve(flags, Precedence::FlagsFirst).map_err(|error| usage(error.to_string()))?;
    let path = (file != "-").then(|| file.as_ref());
    let (source, archive): (String, OwnedFd) =
        load::open(path, || usage("stdin is a terminal: name an archive, or pipe one in".to_owned()))?;
    let request = ImportRequest {
        source,
        reference: arguments.reference.as_ref().map(|name| name.as_str().to_owned()),
        message: arguments.message.clone(),
        changes: arguments.change.clone(),
        platform,
    };
    let services = Services::from_environment()?;
    block_on(async {
        let events =
            services.call(async |client| client.import_image(&request, archive.as_fd()).await).await?;
        super::print_made(events).await
    })
}
