//! `image pull`

use bulkhead_api::request::PullRequest;
use clap::Args;

use crate::arguments::{FetchFlags, Identifier, ImagePlatformFlags, ProgressFlags, RegistryFlags};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::services::Services;

/// Arguments of `image pull`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PullArguments {
    /// Image to pull
    #[arg(value_name = "REFERENCE")]
    reference: Identifier,

    #[command(flatten)]
    platform: ImagePlatformFlags,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    progress: ProgressFlags,
    #[command(flatten)]
    fetch: FetchFlags,
}

pub(super) fn run(arguments: &PullArguments) -> Result<ExitStatus, Failure> {
    let request = PullRequest {
        reference: arguments.reference.as_str().to_owned(),
        platform: arguments.platform.resolve("container image pull")?,
        scheme: arguments.registry.scheme(),
        registry_login: arguments.registry.login(),
        maximum_concurrent_downloads: Some(arguments.fetch.maximum_concurrent_downloads()),
    };
    let services = Services::from_environment()?;
    block_on(async {
        let events = services.call(async |client| client.pull_image(&request).await).await?;
        super::follow(events, Progress::new(arguments.progress.progress)).await
    })?;
    Ok(ExitStatus::Success)
}
