//! Networks as `network list` and `network inspect` show them.

use std::net::Ipv4Addr;

use bulkhead_api::error::ApiError;
use bulkhead_api::network::{NetworkResource, NetworkResourceConfiguration, NetworkResourceStatus};
use bulkhead_network_control::{Network, Reply, Request};
use bulkhead_state::NetworkRecord;

use super::Networks;
use super::change::{PLUGIN, missing};

impl Networks {
    /// All networks, by name.
    pub(crate) async fn list(&self) -> Result<Vec<NetworkResource>, ApiError> {
        let (reply, _) = self.link.request(Request::ListNetworks).await?;
        let Reply::Networks(mut networks) = reply else { return Ok(Vec::new()) };
        let resources = self.link.records().into_values().map(|record| {
            let position = networks.iter().position(|one| one.configuration.name == record.name);
            resource(&record, position.map(|position| networks.swap_remove(position)))
        });
        Ok(resources.collect())
    }

    /// One of them.
    pub(crate) async fn inspect(&self, name: &str) -> Result<NetworkResource, ApiError> {
        self.list().await?.into_iter().find(|network| network.id == name).ok_or_else(|| missing(name))
    }
}

/// A network; one that cannot be had on this host at the moment is shown as it was last.
pub(super) fn resource(record: &NetworkRecord, network: Option<Network>) -> NetworkResource {
    let subnet = record.ipv4_subnet.clone().unwrap_or_default();
    let (ipv4_subnet, ipv4_gateway, ipv6_subnet) = match network {
        Some(network) => (network.ipv4_subnet, network.ipv4_gateway.to_string(), network.ipv6_subnet),
        None => (subnet.clone(), first_address(&subnet), record.ipv6_subnet.clone()),
    };
    NetworkResource {
        id: record.name.clone(),
        configuration: NetworkResourceConfiguration {
            name: record.name.clone(),
            creation_date: record.creation_date.clone(),
            mode: if record.internal { "hostOnly" } else { "nat" }.to_owned(),
            ipv4_subnet: record.ipv4_subnet.clone().filter(|_| record.subnet_is_fixed),
            ipv6_subnet: record.ipv6_subnet.clone(),
            labels: record.labels.clone(),
            plugin: PLUGIN.to_owned(),
            options: record.options.clone(),
        },
        status: NetworkResourceStatus { ipv4_subnet, ipv4_gateway, ipv6_subnet },
    }
}

fn first_address(subnet: &str) -> String {
    let base = subnet.split('/').next().and_then(|base| base.parse::<Ipv4Addr>().ok());
    base.map(|base| Ipv4Addr::from_bits(base.to_bits() | 1).to_string()).unwrap_or_default()
}
