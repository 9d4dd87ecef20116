//! `image pull`

use bulkhead_api::request::PullRequest;
use clap::Args;

use crate::arguments::{FetchFlags, Identifier, ProgressFlags, RegistryFlags};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::services::Services;
use crate::values::platform::{self, PlatformFlags, Precedence};

/// Arguments of `image pull`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PullArguments {
    /// Pull for this architecture only
    #[arg(short, long, value_name = "ARCHITECTURE")]
    arch: Option<String>,

    /// Pull for this operating system only
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Pull for this platform only, before --os and --arch [environment: CONTAINER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<String>,

    /// Image to pull
    #[arg(value_name = "REFERENCE")]
    reference: Identifier,

    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    progress: ProgressFlags,
    #[command(flatten)]
    fetch: FetchFlags,
}

pub(super) fn run(arguments: &PullArguments) -> Result<ExitStatus, Failure> {
    let flags = PlatformFlags {
        platform: arguments.platform.as_deref(),
        os: arguments.os.as_deref(),
        architecture: arguments.arch.as_deref(),
    };
    let platform = platform::resolve(flags, Precedence::FlagsFirst).map_err(|error| Failure::Usage {
        message: error.to_string(),
        command: "container image pull".to_owned(),
    })?;
    let request = PullRequest {
        reference: arguments.reference.as_str().to_owned(),
        platform,
        scheme: arguments.registry.scheme(),
        maximum_concurrent_downloads: Some(arguments.fetch.maximum_concurrent_downloads()),
    };
    let services = Services::from_environment()?;
    block_on(async {
        let events = services.call(async |client| client.pull_image(&request).await).await?;
        super::follow(events, Progress::new(arguments.progress.progress)).await
    })?;
    Ok(ExitStatus::Success)
}
