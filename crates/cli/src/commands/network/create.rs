//! `network create`

use bulkhead_api::network::NetworkCreateRequest;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::{escape, message, system};
use crate::services::Services;
use crate::values::key_value::{Label, Sysctl};

/// Arguments of `network create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArguments {
    /// Taken, for it is so anyway
    #[arg(long, hide = true)]
    attachable: bool,

    /// Taken where it says what is so anyway
    #[arg(short, long, value_name = "NAME", hide = true, value_parser = ["bridge"], default_value = "bridge")]
    driver: String,

    /// Leave the network without a way outside
    #[arg(long)]
    internal: bool,

    /// Label the network
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<Label>,

    /// Set an option of the network: mtu=BYTES
    #[arg(long, alias = "opt", short_alias = 'o', value_name = "KEY=VALUE")]
    option: Vec<Sysctl>,

    /// Plugin that serves the network
    #[arg(long, value_name = "PLUGIN", default_value = "container-network-vmnet")]
    plugin: String,

    /// IPv4 subnet, such as 192.168.100.0/24 [default: one that is free]
    #[arg(long, value_name = "CIDR")]
    subnet: Option<String>,

    /// IPv6 subnet, such as fd00:100::/64
    #[arg(long, value_name = "CIDR")]
    subnet_v6: Option<String>,

    /// Name of the network
    #[arg(value_name = "NAME")]
    name: Identifier,
}

pub(super) fn run(arguments: &CreateArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let request = NetworkCreateRequest {
        name: arguments.name.as_str().to_owned(),
        ipv4_subnet: arguments.subnet.clone(),
        ipv6_subnet: arguments.subnet_v6.clone(),
        internal: arguments.internal,
        labels: arguments.label.iter().map(|label| (label.key.clone(), label.value.clone())).collect(),
        options: arguments.option.iter().map(|option| (option.key.clone(), option.value.clone())).collect(),
        plugin: Some(arguments.plugin.clone()),
    };
    let network = block_on(services.call(async |client| client.create_network(&request).await))?;
    if request.ipv6_subnet.is_some()
        && !request.internal
        && let Ok(status) = block_on(services.call(async |client| client.system_status().await))
    {
        status.network.iter().flat_map(system::network_advice).for_each(|advice| message::warning(&advice));
    }
    output::print(&format!("{}\n", escape::text(&network.id)))?;
    Ok(ExitStatus::Success)
}
