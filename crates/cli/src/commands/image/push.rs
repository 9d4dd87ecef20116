//! `image push`

use bulkhead_api::request::PushRequest;
use clap::Args;

use crate::arguments::{Identifier, ImagePlatformFlags, ProgressFlags, RegistryFlags};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::output::progress::Progress;
use crate::services::Services;

/// Arguments of `image push`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PushArguments {
    /// Image to push
    #[arg(value_name = "REFERENCE")]
    reference: Identifier,

    #[command(flatten)]
    platform: ImagePlatformFlags,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    progress: ProgressFlags,
}

pub(super) fn run(arguments: &PushArguments) -> Result<ExitStatus, Failure> {
    let request = PushRequest {
        reference: arguments.reference.as_str().to_owned(),
        platform: arguments.platform.resolve("container image push")?,
        scheme: arguments.registry.scheme(),
        registry_login: arguments.registry.login(),
    };
    let services = Services::from_environment()?;
    let references = block_on(async {
        let events = services.call(async |client| client.push_image(&request).await).await?;
        super::follow(events, Progress::new(arguments.progress.progress)).await
    })?;
    output::print(&references.iter().map(|name| format!("{}\n", escape::text(name))).collect::<String>())?;
    Ok(ExitStatus::Success)
}
