//! `system dns delete`

use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::services::Services;

/// Arguments of `system dns delete`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArguments {
    /// Domain to delete
    #[arg(value_name = "DOMAIN")]
    domain: String,
}

pub(super) fn run(arguments: &DeleteArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    block_on(services.call(async |client| client.delete_domain(&arguments.domain).await))?;
    output::print(&format!("{}\n", escape::text(&arguments.domain)))?;
    Ok(ExitStatus::Success)
}
