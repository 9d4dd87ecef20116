//! `volume list`

use bulkhead_api::container::MountKind;
use bulkhead_api::volume::VolumeResource;
use clap::Args;

use crate::arguments::ListFlags;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::render;
use crate::services::Services;
use crate::values::filter::volume::VolumeFilter;
use crate::values::filter::{self, Needed};

/// Arguments of `volume list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Show only some: name=, label=, driver=, dangling=
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<VolumeFilter>,

    #[command(flatten)]
    flags: ListFlags<VolumeResource>,
}

pub(super) fn run(ListArguments { filter, flags }: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let about_containers = filter.iter().any(VolumeFilter::is_about_containers);
    let (volumes, containers) = block_on(services.call(async |client| {
        let volumes = client.list_volumes().await?;
        let containers = if about_containers { client.list_containers(true).await? } else { Vec::new() };
        Ok((volumes, containers))
    }))?;
    let mounts = containers.iter().flat_map(|container| &container.configuration.mounts);
    let mounted = mounts.filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, .. } => Some(name.as_str()),
        MountKind::Virtiofs {} | MountKind::Tmpfs {} => None,
    });
    let volumes = Needed::mark(volumes, mounted, |volume| &volume.configuration.name);
    let volumes = Needed::unmark(filter::select(filter, volumes)?);
    output::print(&render::list(&volumes, &flags.format, flags.quiet)?)?;
    Ok(ExitStatus::Success)
}
