//! `network connect`

use std::net::{Ipv4Addr, Ipv6Addr};

use bulkhead_api::network::NetworkConnectRequest;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::values::network::{MacAddress, NetworkAttachment};

/// Arguments of `network connect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectArguments {
    /// Give the container a further name on the network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,

    /// IPv4 address of the container on the network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,

    /// IPv6 address of the container on the network, which must have IPv6
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,

    /// Give the container's interface on the network this address
    #[arg(long, value_name = "MAC")]
    mac_address: Option<MacAddress>,

    /// Network to join
    #[arg(value_name = "NETWORK-NAME")]
    network: Identifier,

    /// Stopped container
    #[arg(value_name = "CONTAINER-ID")]
    container: Identifier,
}

pub(super) fn run(arguments: &ConnectArguments) -> Result<ExitStatus, Failure> {
    let network = arguments.network.as_str();
    let wanted = NetworkAttachment {
        mac_address: arguments.mac_address.clone(),
        address: arguments.ip,
        address6: arguments.ip6,
        aliases: arguments.alias.clone(),
        ..NetworkAttachment::plain(network)
    };
    let options = wanted.into_configuration().options;
    let request = NetworkConnectRequest { container: arguments.container.as_str().to_owned(), options };
    let services = Services::from_environment()?;
    block_on(services.call(async |client| client.connect_to_network(network, &request).await))?;
    Ok(ExitStatus::Success)
}
