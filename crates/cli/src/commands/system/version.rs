//! `system version`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::output::version::{self, ComponentVersion};
use crate::output::vocabulary::VersionPair;
use crate::services::Services;

/// Arguments of `system version`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VersionArguments {
    /// Format of the output, or a template: '{{.version}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<ComponentVersion>())]
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
    let text = match &arguments.format {
        // Docker's words are of both at once.
        Format::Template(template) if template.mentions(&VersionPair::WORDS) => {
            render::object_as(&VersionPair(components), &arguments.format)?
        }
        format => render::list(&components, format, false)?,
    };
    output::print(&text)?;
    Ok(ExitStatus::Success)
}
