//! Networks as `network list` shows them.

use std::collections::BTreeMap;

use bulkhead_api::error::ApiError;
use bulkhead_api::network::{NetworkResource, NetworkResourceConfiguration, NetworkResourceStatus};
use bulkhead_network_control::{Network, Reply, Request};

use super::Networks;
use crate::date;

impl Networks {
    /// All networks, by name.
    pub(crate) async fn list(&self) -> Result<Vec<NetworkResource>, ApiError> {
        let (reply, _) = self.link.request(Request::ListNetworks).await?;
        let Reply::Networks(networks) = reply else { return Ok(Vec::new()) };
        let records = self.link.records();
        let resources = networks.into_iter().map(|network| {
            let created = records.get(&network.configuration.name).map(|record| record.creation_date.clone());
            resource(network, created.unwrap_or_else(date::now))
        });
        Ok(resources.collect())
    }
}

fn resource(network: Network, creation_date: String) -> NetworkResource {
    let configuration = network.configuration;
    NetworkResource {
        id: configuration.name.clone(),
        configuration: NetworkResourceConfiguration {
            name: configuration.name,
            creation_date,
            mode: if configuration.internal { "hostOnly" } else { "nat" }.to_owned(),
            ipv4_subnet: configuration.ipv4_subnet,
            ipv6_subnet: configuration.ipv6_subnet,
            labels: BTreeMap::new(),
            plugin: "container-network-vmnet".to_owned(),
            options: configuration.options,
        },
        status: NetworkResourceStatus {
            ipv4_subnet: network.ipv4_subnet,
            ipv4_gateway: network.ipv4_gateway.to_string(),
            ipv6_subnet: network.ipv6_subnet,
        },
    }
}
