//! Names that the DNS server of a network answers.

use std::net::IpAddr;
use std::sync::Weak;

use super::Networks;
use super::domains::Meaning;
use crate::dns::{Allowing, Found, Names, Permission};

/// Names of the host.
const HOST_NAMES: [&str; 2] = ["host.container.internal", "host.docker.internal"];

/// The names of one network, as its DNS server sees them.
pub(super) struct NetworkNames {
    pub(super) networks: Weak<Networks>,
    pub(super) network: String,
}

impl NetworkNames {
    fn rules(&self, name: &str, client: IpAddr) -> Option<Vec<usize>> {
        Some(self.networks.upgrade()?.policy_of(client)?.rules_of(name))
    }
}

impl Names for NetworkNames {
    fn permission(&self, name: &str, client: IpAddr) -> Permission {
        match self.rules(name, client) {
            None => Permission::Unlimited,
            Some(rules) if rules.is_empty() => Permission::Denied,
            Some(_) => Permission::Allowed,
        }
    }

    fn allow<'a>(&'a self, name: &'a str, client: IpAddr, found: Found) -> Allowing<'a> {
        Box::pin(async move {
            let (Some(rules), Some(networks)) = (self.rules(name, client), self.networks.upgrade()) else {
                return false;
            };
            networks.pin(client, name, &rules, &found.addresses, found.ttl_s).await
        })
    }

    fn may_reach(&self, address: IpAddr, client: IpAddr) -> bool {
        let policy = self.networks.upgrade().and_then(|networks| networks.policy_of(client));
        policy.is_none_or(|policy| policy.covers(address))
    }

    fn is_inside(&self, address: IpAddr) -> bool {
        self.networks.upgrade().is_some_and(|networks| networks.is_inside(address))
    }

    fn deny(&self, name: &str, client: IpAddr) {
        if let Some(networks) = self.networks.upgrade() {
            networks.refused_name(client, name);
        }
    }

    fn find_names(&self, address: IpAddr, client: IpAddr) -> Option<Vec<String>> {
        let networks = self.networks.upgrade()?;
        let state = networks.state();
        let (network, segment) = state.segments.iter().find(|(_, segment)| segment.contains(address))?;
        let asking = state.segments.get(&self.network).and_then(|own| own.holder(client));
        let is_joined = *network == self.network || asking.is_some_and(|id| segment.leases.contains_key(id));
        let name = match segment.holder(address).filter(|_| is_joined) {
            None if is_joined && segment.is_gateway(address) => Some(HOST_NAMES[0]),
            name => name,
        };
        Some(name.map(str::to_owned).into_iter().collect())
    }

    fn find(&self, name: &str, client: IpAddr) -> Vec<IpAddr> {
        let Some(networks) = self.networks.upgrade() else { return Vec::new() };
        let meaning = networks.domains().resolve(name);
        if let Meaning::Host(address) = meaning {
            return vec![address.into()];
        }
        let state = networks.state();
        let Some(segment) = state.segments.get(&self.network) else { return Vec::new() };
        if HOST_NAMES.contains(&name) {
            let gateway6 = segment.network.ipv6_gateway.map(IpAddr::V6);
            return std::iter::once(segment.network.ipv4_gateway.into()).chain(gateway6).collect();
        }
        let mut found = segment.find(name);
        let name = match meaning {
            Meaning::Container(container) if found.is_empty() => {
                found = segment.find(container);
                container
            }
            _ => name,
        };
        if !found.is_empty() {
            return found;
        }
        // A container asks one server for the names of all its networks. Nobody can ask with the
        // address of another: the bridge drops that.
        let Some(asking) = segment.holder(client) else { return Vec::new() };
        let joined = || state.segments.iter().filter(|(_, segment)| segment.leases.contains_key(asking));
        let others = joined().filter(|(network, _)| **network != self.network);
        let on_others = others.map(|(_, other)| other.find(name));
        // `web.back`: Docker's way to say which network is meant.
        let with_network = joined().filter_map(|(network, segment)| {
            Some(segment.find(name.strip_suffix(network.as_str())?.strip_suffix('.')?))
        });
        on_others.chain(with_network).find(|found| !found.is_empty()).unwrap_or_default()
    }
}
