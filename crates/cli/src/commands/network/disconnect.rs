//! `network disconnect`

use bulkhead_api::network::NetworkDisconnectRequest;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `network disconnect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DisconnectArguments {
    /// Succeed if the container does not join the network, or there is none of that name
    #[arg(short, long)]
    force: bool,

    /// Network to leave
    #[arg(value_name = "NETWORK-NAME")]
    network: Identifier,

    /// Stopped container
    #[arg(value_name = "CONTAINER-ID")]
    container: Identifier,
}

pub(super) fn run(arguments: &DisconnectArguments) -> Result<ExitStatus, Failure> {
    let request = NetworkDisconnectRequest {
        container: arguments.container.as_str().to_owned(),
        force: arguments.force,
    };
    let services = Services::from_environment()?;
    let network = arguments.network.as_str();
    block_on(services.call(async |client| client.disconnect_from_network(network, &request).await))?;
    Ok(ExitStatus::Success)
}
