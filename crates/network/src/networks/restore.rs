//! What an earlier process left in the namespace: bridges and ports. The apiserver knows whose they
//! are. What it does not claim goes when it has named everything that it keeps.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};

use bulkhead_network_control::{EgressPolicy, Failure, FailureCode, RestoreRequest};

use super::configuration::{Wanted, check_mac, check_name};
use super::state::{Bridge, Holding};
use super::{Networks, failure, gone, not_found, system_failure};
use crate::firewall::{INTERNAL_BRIDGE, OUTWARD_BRIDGE, PORT};
use crate::netlink::link::Link;
use crate::port::{Identity, Plan, device_name, mac_of};
use crate::subnet::Subnet;

/// Devices without an owner.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    bridges: Vec<Link>,
    ports: Vec<Link>,
    /// Indices of bridges that are wanted and could not be served: they stay, with their ports.
    wanted: BTreeSet<u32>,
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
    pub(super) fn take_bridge(&mut self, wanted: &Wanted, subnet: Subnet) -> Option<(Bridge, Link)> {
        let configuration = &wanted.configuration;
        let prefix = if configuration.internal { INTERNAL_BRIDGE } else { OUTWARD_BRIDGE };
        let alias = alias(&configuration.name, subnet);
        let position =
            self.bridges.iter().position(|one| one.alias == alias && one.name.starts_with(prefix))?;
        let link = self.bridges.swap_remove(position);
        self.wanted.remove(&link.index);
        let number = number_of(&link.name)?;
        let mtu = link.mtu.max(wanted.mtu);
        Some((Bridge { name: link.name.clone(), number, index: link.index, mtu }, link))
    }

    /// A bridge that was taken and could not be used: its containers still have it, until the next
    /// attempt.
    pub(super) fn put_back(&mut self, bridge: Link) {
        self.wanted.insert(bridge.index);
        self.bridges.push(bridge);
    }

    /// Addresses that have a port on a bridge.
    pub(super) fn addresses(&self, bridge_index: u32) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let ports = self.ports.iter().filter(move |port| port.master == Some(bridge_index));
        ports.filter_map(|port| address_of(&port.name))
    }

    /// Takes out what nobody claimed.
    fn take_unclaimed(&mut self) -> Self {
        let all = std::mem::take(self);
        let (bridges, ports);
        (self.bridges, bridges) = all.bridges.into_iter().partition(|one| all.wanted.contains(&one.index));
        (self.ports, ports) = all
            .ports
            .into_iter()
            .partition(|one| one.master.is_some_and(|bridge| all.wanted.contains(&bridge)));
        self.wanted = all.wanted;
        Self { bridges, ports, wanted: BTreeSet::new() }
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
        let (plan, gateway) = {
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
            let address6 = request.ipv6_address.filter(|_| segment.subnet6.is_some());
            (Plan { bridge_index, address, address6, mac, mtu: request.mtu }, segment.network.ipv4_gateway)
        };
        let identity = plan.identity();
        let aliases = request.aliases.iter().map(|alias| alias.to_ascii_lowercase()).collect();
        let holding = Holding {
            hostname: request.hostname.to_ascii_lowercase(),
            address,
            address6: identity.address6,
            mac,
            aliases,
            policy: None,
            // An earlier process had it.
            socket: None,
        };
        if let Err(failure) = self.readmit(&id, &network, plan, holding, request.egress, gateway).await {
            // Nobody would claim it again, and nobody else could have its address.
            self.remove_port(identity).await;
            self.forget_address(&network, address);
            return Err(failure);
        }
        tracing::info!(container = id, network, %address, "restored");
        Ok(())
    }

    /// Lets a port send again, within its policy.
    async fn readmit(
        &self,
        id: &str,
        network: &str,
        plan: Plan,
        holding: Holding,
        egress: Option<EgressPolicy>,
        gateway: Ipv4Addr,
    ) -> Result<(), Failure> {
        let policy = self.enforce(egress, &plan, gateway).await?;
        let identity = plan.identity();
        // Its names are judged by the policy from the first packet on.
        let holding = Holding { policy: policy.clone(), ..holding };
        match self.state().segments.get_mut(network) {
            Some(segment) => drop(segment.leases.insert(id.to_owned(), holding)),
            None => return Err(not_found(network)),
        }
        let sets = policy.as_ref().map(|policy| policy.sets(plan.address)).unwrap_or_default();
        let pins = Arc::clone(&self.pins);
        let admitted = self.creator.run(move |plumbing| {
            let mut pins = pins.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = pins.put_back(&mut plumbing.filters, &sets) {
                tracing::warn!("names that were allowed have to be asked for again: {error}");
            }
            plumbing.admit(&plan)
        });
        let admitted = admitted.await.ok_or_else(gone);
        let outcome = admitted.and_then(|outcome| outcome.map_err(|error| system_failure(&error)));
        if outcome.is_err() {
            if let Some(segment) = self.state().segments.get_mut(network) {
                segment.leases.remove(id);
            }
            self.lift(policy.as_deref(), &identity).await;
        }
        outcome
    }

    /// Removes what nobody claimed.
    pub(super) fn sweep(self: &Arc<Self>) {
        let orphans = self.state().orphans.take_unclaimed();
        if orphans.bridges.is_empty() && orphans.ports.is_empty() {
            return;
        }
        let networks = Arc::clone(self);
        tokio::spawn(async move {
            for port in orphans.ports {
                let Some(address) = address_of(&port.name) else { continue };
                tracing::info!(%address, "removing a port that nobody claims");
                // Its rules went with the process that made them.
                networks.remove_port(Identity { address, address6: None, mac: mac_of(address) }).await;
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
    fn what_is_wanted_and_cannot_be_served_stays() {
        let subnet: Subnet = "192.168.64.0/24".parse().unwrap();
        let bridge = |index: u32, name: &str, network: &str| Link {
            index,
            name: name.to_owned(),
            kind: "bridge".to_owned(),
            alias: alias(network, subnet),
            ..Link::default()
        };
        let port = |index: u32, master: u32| Link {
            index,
            name: device_name(subnet.address(index)),
            master: Some(master),
            ..Link::default()
        };
        let mut orphans =
            Orphans::among(vec![bridge(1, "bn0", "a"), bridge(2, "bn1", "b"), port(3, 1), port(4, 2)]);
        let wanted = Wanted::try_from(bulkhead_network_control::NetworkConfiguration {
            name: "a".to_owned(),
            ipv4_subnet: Some(subnet.to_string()),
            ipv6_subnet: None,
            internal: false,
            options: std::collections::BTreeMap::new(),
        })
        .unwrap();
        let (_, link) = orphans.take_bridge(&wanted, subnet).unwrap();
        orphans.put_back(link);
        let unclaimed = orphans.take_unclaimed();
        assert_eq!((unclaimed.bridges[0].index, unclaimed.ports[0].index), (2, 4));
        assert_eq!((unclaimed.bridges.len(), unclaimed.ports.len()), (1, 1));
        assert!(orphans.take_bridge(&wanted, subnet).is_some() && orphans.take_port(1, subnet.address(3)));
    }

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
