//! `registry logout`

use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `registry logout`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogoutArguments {
    /// Registry to log out of
    #[arg(value_name = "SERVER")]
    server: Identifier,
}

pub(super) fn run(arguments: &LogoutArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    block_on(services.call(async |client| client.log_out(arguments.server.as_str()).await))?;
    Ok(ExitStatus::Success)
}
