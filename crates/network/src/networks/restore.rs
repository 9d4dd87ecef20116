//! What an earlier process left in the namespace: bridges and ports. The apiserver knows whose they
//! are. What it does not claim goes when it has named everything that it keeps.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bulkhead_network_control::{Failure, FailureCode, RestoreRequest};

use super::configuration::{Wanted, check_mac, check_name};
use super::state::{Bridge, Holding};
use super::{Networks, failure, gone, not_found, system_failure};
use crate::firewall::{INTERNAL_BRIDGE, OUTWARD_BRIDGE, PORT};
use crate::netlink::link::Link;
use crate::port::{Plan, device_name, mac_of};
use crate::subnet::Subnet;

/// Devices without an owner.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    bridges: Vec<Link>,
    ports: Vec<Link>,
}

/// What a bridge is called among its device's properties, by which it is found again.
pub(super) fn alias(network: &str, subnet: Subnet) -> String {
    format!("{network} {subnet}")
}

impl Orphans {
    /// Sorts the devices of a namespace.
    pub(crate) fn among(links: Vec<Link>) -> Self {
        let mut orphans = Self::default();
        for link in links {
            if link.kind == "bridge" {
                orphans.bridges.push(link);
            } else if address_of(&link.name).is_some() {
                orphans.ports.push(link);
            }
        }
        orphans
    }

    /// Numbers of bridges.
    pub(super) fn bridge_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.bridges.iter().filter_map(|bridge| number_of(&bridge.name))
    }

    /// The bridge of a network that is wanted again just as it was.
    pub(super) fn take_bridge(&mut self, wanted: &Wanted, subnet: Subnet) -> Option<Bridge> {
        let configuration = &wanted.configuration;
        let prefix = if configuration.internal { INTERNAL_BRIDGE } else { OUTWARD_BRIDGE };
        let alias = alias(&configuration.name, subnet);
        let position =
            self.bridges.iter().position(|one| one.alias == alias && one.name.starts_with(prefix))?;
        let link = self.bridges.swap_remove(position);
        let number = number_of(&link.name)?;
        Some(Bridge { name: link.name, number, index: link.index, mtu: link.mtu.max(wanted.mtu) })
    }

    /// Addresses that have a port on a bridge.
    pub(super) fn addresses(&self, bridge_index: u32) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let ports = self.ports.iter().filter(move |port| port.master == Some(bridge_index));
        ports.filter_map(|port| address_of(&port.name))
    }

    fn take_port(&mut self, bridge_index: u32, address: Ipv4Addr) -> bool {
        let name = device_name(address);
        let wanted = |port: &Link| port.name == name && port.master == Some(bridge_index);
        let position = self.ports.iter().position(wanted);
        position.map(|position| self.ports.swap_remove(position)).is_some()
    }
}

/// `bn12` is 12.
fn number_of(bridge: &str) -> Option<u32> {
    let digits = bridge.strip_prefix(INTERNAL_BRIDGE).or_else(|| bridge.strip_prefix(OUTWARD_BRIDGE))?;
    digits.parse().ok()
}

/// The inverse of [`device_name`].
fn address_of(device: &str) -> Option<Ipv4Addr> {
    let digits = device.strip_prefix(PORT).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from_bits)
}

impl Networks {
    /// Gives a container back what it had before this process began.
    pub(crate) async fn restore(&self, request: RestoreRequest) -> Result<(), Failure> {
        check_name("container id", &request.container_id)?;
        check_name("host name", &request.hostname)?;
        let mac = check_mac(&request.mac_address)?;
        let (id, network, address) = (request.container_id, request.network, request.ipv4_address);
        let plan = {
            let mut state = self.state();
            let state = &mut *state;
            let segment = state.segments.get(&network).ok_or_else(|| not_found(&network))?;
            if segment.leases.get(&id).is_some_and(|held| held.address == address) {
                return Ok(());
            }
            let bridge_index = segment.bridge.index;
            if segment.leases.contains_key(&id) || !state.orphans.take_port(bridge_index, address) {
                return Err(failure(
                    FailureCode::NotFound,
                    format!("the interface of container '{id}' on network '{network}' has gone"),
                ));
            }
            Plan { bridge_index, address, mac, mtu: request.mtu }
        };
        let restored = self.creator.run(move |plumbing| plumbing.admit(&plan)).await;
        restored.ok_or_else(gone)?.map_err(|error| system_failure(&error))?;
        let aliases = request.aliases.iter().map(|alias| alias.to_ascii_lowercase()).collect();
        let holding = Holding { hostname: request.hostname.to_ascii_lowercase(), address, mac, aliases };
        let mut state = self.state();
        let segment = state.segments.get_mut(&network).ok_or_else(|| not_found(&network))?;
        tracing::info!(container = id, network, %address, "restored");
        segment.leases.insert(id, holding);
        Ok(())
    }

    /// Removes what nobody claimed.
    pub(super) fn sweep(self: &Arc<Self>) {
        let orphans = std::mem::take(&mut self.state().orphans);
        if orphans.bridges.is_empty() && orphans.ports.is_empty() {
            return;
        }
        let networks = Arc::clone(self);
        tokio::spawn(async move {
            for port in orphans.ports {
                let Some(address) = address_of(&port.name) else { continue };
                tracing::info!(%address, "removing a port that nobody claims");
                networks.remove_port(address, mac_of(address)).await;
                let mut state = networks.state();
                let of_bridge = |index: u32| port.master == Some(index);
                if let Some(segment) =
                    state.segments.values_mut().find(|segment| of_bridge(segment.bridge.index))
                {
                    segment.free_address(address);
                }
            }
            for bridge in orphans.bridges {
                tracing::info!(bridge = bridge.name, "removing a bridge that nobody claims");
                networks.delete_device(bridge.name).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_tell_what_they_are() {
        let address = Ipv4Addr::new(192, 168, 64, 2);
        assert_eq!(address_of(&device_name(address)), Some(address));
        for other in ["v", "vx", "veth0", "uplink", "lo", "v123"] {
            assert_eq!(address_of(other), None, "{other}");
        }
        assert_eq!((number_of("bn12"), number_of("bi0"), number_of("br0")), (Some(12), Some(0), None));
    }
}
