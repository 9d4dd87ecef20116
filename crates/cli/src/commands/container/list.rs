//! `list`

use bulkhead_api::container::{ContainerSnapshot, ContainerState};
use clap::Args;

use crate::arguments::{self, Selection};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::render;
use crate::services::Services;
use crate::values::filter::{self, container::ContainerFilter};

/// Arguments of `list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Show containers that do not run as well
    #[arg(short, long)]
    all: bool,

    /// Show only some: name=, id=, label=, status=, exited=, ancestor=, health=, network=, volume=,
    /// before=, since=, publish=
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<ContainerFilter>,

    /// Show the container that was created last, running or not
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,

    /// Show so many containers that were created last, running or not
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,

    /// Format of the output, or a template: '{{.id}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<ContainerSnapshot>())]
    format: Format,

    /// Show ids only
    #[arg(short, long)]
    quiet: bool,

    /// Only refused
    #[arg(short = 's', long = "size", hide = true, value_name = "BOOLEAN", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = arguments::size)]
    _size: Option<()>,

    /// Docker's word for what this does anyway
    #[arg(long, hide = true)]
    no_trunc: bool,
}

pub(crate) fn run(arguments: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let last = arguments.last.or(arguments.latest.then_some(1));
    let all = arguments.all || last.is_some() || arguments.filter.iter().any(ContainerFilter::is_of_state);
    let compares = arguments.filter.iter().any(ContainerFilter::is_comparison);
    let containers = block_on(services.call(async |client| client.list_containers(all || compares).await))?;
    let mut containers = filter::select(&arguments.filter, containers)?;
    containers.retain(|container| all || container.status.state != ContainerState::Stopped);
    if let Some(count) = last {
        containers.sort_by_key(|container| std::cmp::Reverse(container.configuration.creation_time_us));
        containers.truncate(count);
    }
    output::print(&render::list(&containers, &arguments.format, arguments.quiet)?)?;
    Ok(ExitStatus::Success)
}

/// Ids of a bulk verb; also makes sure that the apiserver runs before it is asked many times at once.
pub(super) async fn select(
    services: &Services,
    selection: Selection,
    stopped_too: bool,
) -> Result<Vec<String>, Failure> {
    match selection {
        Selection::All => {
            let containers = services.call(async |client| client.list_containers(stopped_too).await).await?;
            Ok(containers.into_iter().map(|container| container.id).collect())
        }
        Selection::These(ids) => {
            services.ensure().await?;
            Ok(ids)
        }
    }
}

/// Ids of all that do not run.
pub(super) async fn not_running(services: &Services) -> Result<Vec<String>, Failure> {
    let containers = services.call(async |client| client.list_containers(true).await).await?;
    let idle = containers.into_iter().filter(|container| {
        container.status.state == ContainerState::Stopped && !container.status.restarting
    });
    Ok(idle.map(|container| container.id).collect())
}
