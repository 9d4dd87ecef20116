//! `system version`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::Format;
use crate::output::render;
use crate::output::version::{self, ComponentVersion};
use crate::services::Services;

/// Arguments of `system version`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VersionArguments {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &VersionArguments) -> Result<ExitStatus, Failure> {
    let mut components = vec![ComponentVersion {
        version: version::VERSION.to_owned(),
        build_type: version::BUILD.to_owned(),
        commit: version::COMMIT.to_owned(),
        app_name: "container".to_owned(),
    }];
    // Without services there is just less to tell.
    if let Ok(services) = Services::from_environment()
        && let Ok(status) = block_on(async { Ok(services.client().system_status().await?) })
    {
        components.push(ComponentVersion {
            version: status.api_server_version,
            build_type: status.api_server_build,
            commit: status.api_server_commit,
            app_name: status.api_server_app_name,
        });
    }
    output::print(&render::list(&components, arguments.format, false)?)?;
    Ok(ExitStatus::Success)
}
