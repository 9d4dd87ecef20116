//! `image tag`

use bulkhead_api::request::TagRequest;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::services::Services;

/// Arguments of `image tag`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TagArguments {
    /// Existing name
    #[arg(value_name = "SOURCE")]
    source: Identifier,

    /// Further name
    #[arg(value_name = "TARGET")]
    target: Identifier,
}

pub(super) fn run(arguments: &TagArguments) -> Result<ExitStatus, Failure> {
    let request = TagRequest {
        source: arguments.source.as_str().to_owned(),
        target: arguments.target.as_str().to_owned(),
    };
    let services = Services::from_environment()?;
    block_on(services.call(async |client| client.tag_image(&request).await))?;
    output::print(&escape::text(&request.target))?;
    Ok(ExitStatus::Success)
}
