//! What running containers hold of the network, as a new container-network has to hear it.

use bulkhead_api::container::{ContainerConfiguration, NetworkConfiguration, NetworkStatus, PublishedPort};
use bulkhead_network_control::{Lease, PortRange, PublishRequest, RenameRequest, Request, RestoreRequest};
use bulkhead_state::RunRecord;

use super::egress;
use crate::container::published_ports;

/// Interfaces and ports of one container.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    interfaces: Vec<RestoreRequest>,
    ports: Vec<PortRange>,
}

impl Held {
    /// Of a container that starts.
    pub(super) fn leased<'a>(
        configuration: &ContainerConfiguration,
        leases: impl Iterator<Item = &'a Lease>,
        ports: &[PublishedPort],
    ) -> Self {
        let interfaces = leases.enumerate().filter_map(|(index, lease)| {
            let addresses = (lease.ipv4_address.as_str(), lease.ipv6_address.as_deref());
            interface(configuration, index, addresses, lease.mac_address.clone(), lease.mtu)
        });
        Self { interfaces: interfaces.collect(), ports: ranges(ports) }
    }

    /// Of a container that was found running.
    pub(super) fn recorded(configuration: &ContainerConfiguration, run: &RunRecord) -> Self {
        let interfaces = run.networks.iter().enumerate().filter_map(|(index, status)| {
            let NetworkStatus { ipv4_address, ipv6_address, mac_address, mtu, .. } = status;
            let addresses = (ipv4_address.as_str(), ipv6_address.as_deref());
            interface(configuration, index, addresses, mac_address.clone()?, (*mtu)?)
        });
        Self { interfaces: interfaces.collect(), ports: ranges(&run.published_ports) }
    }

    /// In the order in which they must be made.
    pub(super) fn requests(&self, container_id: &str) -> Vec<Request> {
        let mut requests: Vec<Request> = self.interfaces.iter().cloned().map(Request::Restore).collect();
        if let (Some(first), false) = (self.interfaces.first(), self.ports.is_empty()) {
            requests.push(Request::Publish(PublishRequest {
                container_id: container_id.to_owned(),
                network: first.network.clone(),
                ports: self.ports.clone(),
            }));
        }
        requests
    }
}

/// What container-network has to hear of a container's new name.
pub(super) fn renaming(old: &str, configuration: &ContainerConfiguration) -> RenameRequest {
    let hostname =
        |network: &NetworkConfiguration| (network.network.clone(), network.options.hostname.clone());
    RenameRequest {
        container_id: old.to_owned(),
        new_container_id: configuration.id.clone(),
        hostnames: configuration.networks.iter().map(hostname).collect(),
    }
}

/// What a container is called on a network beside its id; the host name that a user chose is no more unique than
/// the aliases are.
pub(super) fn aliases(configuration: &ContainerConfiguration, wanted: &NetworkConfiguration) -> Vec<String> {
    wanted.options.aliases.iter().chain(&configuration.hostname).cloned().collect()
}

fn interface(
    configuration: &ContainerConfiguration,
    index: usize,
    (address, address6): (&str, Option<&str>),
    mac_address: String,
    mtu: u32,
) -> Option<RestoreRequest> {
    let wanted = configuration.networks.get(index)?;
    Some(RestoreRequest {
        container_id: configuration.id.clone(),
        network: wanted.network.clone(),
        hostname: wanted.options.hostname.clone(),
        aliases: aliases(configuration, wanted),
        egress: egress::policy(configuration),
        ipv4_address: address.split('/').next()?.parse().ok()?,
        ipv6_address: match address6 {
            Some(address) => Some(address.split('/').next()?.parse().ok()?),
            None => None,
        },
        mac_address,
        mtu,
    })
}

fn ranges(ports: &[PublishedPort]) -> Vec<PortRange> {
    // They were made from such ranges.
    ports.iter().filter_map(|port| published_ports::range(port).ok()).collect()
}
