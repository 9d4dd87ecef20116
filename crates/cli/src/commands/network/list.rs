//! `network list`

use bulkhead_api::network::NetworkResource;
use clap::Args;

use crate::arguments::ListFlags;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::render;
use crate::services::Services;
use crate::values::filter::network::NetworkFilter;
use crate::values::filter::{self, Needed};

/// Arguments of `network list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Show only some: name=, id=, label=, driver=, scope=, type=, dangling=
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<NetworkFilter>,

    #[command(flatten)]
    flags: ListFlags<NetworkResource>,
}

pub(super) fn run(ListArguments { filter, flags }: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let about_containers = filter.iter().any(NetworkFilter::is_about_containers);
    let (networks, containers) = block_on(services.call(async |client| {
        let networks = client.list_networks().await?;
        let containers = if about_containers { client.list_containers(true).await? } else { Vec::new() };
        Ok((networks, containers))
    }))?;
    let joined = containers.iter().flat_map(|container| &container.configuration.networks);
    let networks = Needed::mark(networks, joined.map(|joined| joined.network.as_str()), |network| {
        &network.configuration.name
    });
    let networks = Needed::unmark(filter::select(filter, networks)?);
    output::print(&render::list(&networks, &flags.format, flags.quiet)?)?;
    Ok(ExitStatus::Success)
}
