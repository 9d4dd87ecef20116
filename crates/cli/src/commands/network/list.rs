//! `network list`

use bulkhead_api::network::NetworkResource;

use crate::arguments::ListFlags;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::render;
use crate::services::Services;

pub(super) fn run(flags: &ListFlags<NetworkResource>) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let networks = block_on(services.call(async |client| client.list_networks().await))?;
    output::print(&render::list(&networks, &flags.format, flags.quiet)?)?;
    Ok(ExitStatus::Success)
}
