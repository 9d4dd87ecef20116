//! `volume list`

use bulkhead_api::volume::VolumeResource;

use crate::arguments::ListFlags;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::render;
use crate::services::Services;

pub(super) fn run(flags: &ListFlags<VolumeResource>) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let volumes = block_on(services.call(async |client| client.list_volumes().await))?;
    output::print(&render::list(&volumes, &flags.format, flags.quiet)?)?;
    Ok(ExitStatus::Success)
}
