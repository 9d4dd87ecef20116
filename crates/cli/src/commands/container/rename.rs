//! `rename`

use bulkhead_api::request::RenameRequest;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::values::container_name::ContainerName;

/// Arguments of `rename`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RenameArguments {
    /// Stopped container
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,

    /// New name
    #[arg(value_name = "NAME")]
    name: ContainerName,
}

pub(crate) fn run(arguments: &RenameArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    let request = RenameRequest { id: arguments.name.clone().into_string() };
    block_on(services.call(async |client| client.rename_container(id, &request).await))?;
    Ok(ExitStatus::Success)
}
