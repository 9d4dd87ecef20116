//! What is known about networks and leases.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bulkhead_network_control::Network;

use super::restore::Orphans;
use crate::dns::Server;
use crate::egress::Policy;
use crate::port::{Identity, Port};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// All networks.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By name.
    pub(super) segments: BTreeMap<String, Segment>,
    /// What an earlier process left and nobody has claimed yet.
    pub(super) orphans: Orphans,
}

impl State {
    pub(super) fn free_bridge_number(&self) -> u32 {
        let own = self.segments.values().map(|segment| segment.bridge.number);
        let used: BTreeSet<u32> = own.chain(self.orphans.bridge_numbers()).collect();
        (0..).find(|number| !used.contains(number)).unwrap_or_default()
    }
}

/// A network's bridge.
#[derive(Clone, Debug)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) index: u32,
    pub(super) mtu: u32,
}

/// What a container holds.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    /// Lower case, as is the container id among the names.
    pub(super) hostname: String,
    pub(super) address: Ipv4Addr,
    pub(super) address6: Option<Ipv6Addr>,
    pub(super) mac: [u8; 6],
    /// Further names in lower case, which others may have too.
    pub(super) aliases: Vec<String>,
    /// What it may reach, if that is limited.
    pub(super) policy: Option<Arc<Policy>>,
    /// What its machine has as well. Whoever closes a packet socket last waits until no processor looks at it any
    /// more (`synchronize_net` in the kernel's net/packet/af_packet.c), ten milliseconds and more, and the end of a
    /// machine is waited for.
    pub(super) socket: Option<Arc<OwnedFd>>,
}

impl Holding {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(IpAddr::V4(self.address)).chain(self.address6.map(IpAddr::V6))
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { address: self.address, address6: self.address6, mac: self.mac }
    }
}

/// A network with its leases.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) network: Network,
    pub(super) subnet: Subnet,
    pub(super) subnet6: Option<Subnet6>,
    pub(super) bridge: Bridge,
    pub(super) server: Server,
    /// The host has a route to it, and not to another installation's of the same addresses.
    pub(super) is_led_to: bool,
    /// By container id.
    pub(super) leases: BTreeMap<String, Holding>,
    /// Ports that are ready for whoever comes next.
    pub(super) pool: VecDeque<Port>,
    /// Somebody is filling the pool.
    pub(super) filling: bool,
    /// Offsets of addresses that have a port.
    used: BTreeSet<u32>,
    /// Where the search goes on: an address rests for as long as there are others.
    next_offset: u32,
}

/// The network itself is 0, the gateway 1.
const FIRST_OFFSET: u32 = 2;

impl Segment {
    pub(super) fn new(
        network: Network,
        (subnet, subnet6): (Subnet, Option<Subnet6>),
        bridge: Bridge,
        server: Server,
    ) -> Self {
        Self {
            network,
            subnet,
            subnet6,
            bridge,
            server,
            is_led_to: false,
            leases: BTreeMap::new(),
            pool: VecDeque::new(),
            filling: false,
            used: BTreeSet::new(),
            next_offset: FIRST_OFFSET,
        }
    }

    /// Takes an address; `None` if all are taken.
    pub(super) fn take_address(&mut self) -> Option<Ipv4Addr> {
        let end = self.subnet.last_offset();
        let offset = (self.next_offset..end)
            .chain(FIRST_OFFSET..self.next_offset.min(end))
            .find(|offset| !self.used.contains(offset))?;
        self.used.insert(offset);
        self.next_offset = offset + 1;
        Some(self.subnet.address(offset))
    }

    /// Whether addresses are taken that are neither a container's nor ready for one.
    pub(super) fn has_addresses_on_their_way(&self) -> bool {
        self.used.len() > self.leases.len() + self.pool.len()
    }

    pub(super) fn free_address(&mut self, address: Ipv4Addr) {
        if let Some(offset) = self.subnet.offset(address) {
            self.used.remove(&offset);
        }
    }

    /// Takes this address if it is free.
    pub(super) fn take(&mut self, address: Ipv4Addr) -> bool {
        self.offers(address) && self.subnet.offset(address).is_some_and(|offset| self.used.insert(offset))
    }

    /// Whether containers can have this address at all.
    pub(super) fn offers(&self, address: Ipv4Addr) -> bool {
        let offset = self.subnet.offset(address);
        offset.is_some_and(|offset| (FIRST_OFFSET..self.subnet.last_offset()).contains(&offset))
    }

    /// The addresses behind a name in lower case: that of the container with this id or host name, else
    /// those with this alias, else those whose name begins with this label.
    pub(super) fn find(&self, name: &str) -> Vec<IpAddr> {
        let all = |wanted: &dyn Fn(&str, &Holding) -> bool| -> Vec<IpAddr> {
            let found = self.leases.iter().filter(|(id, held)| wanted(id, held));
            found.flat_map(|(_, held)| held.addresses()).collect()
        };
        let first_label =
            |text: &str| text.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(name));
        let mut found = all(&|id, held| held.hostname == name || id.eq_ignore_ascii_case(name));
        if found.is_empty() {
            found = all(&|_, held| held.aliases.iter().any(|alias| alias == name));
        }
        if found.is_empty() {
            found = all(&|id, held| first_label(id) || first_label(&held.hostname));
        }
        found
    }

    /// Whether an address is of this network.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.subnet.offset(address).is_some(),
            IpAddr::V6(address) => self.subnet6.is_some_and(|subnet| subnet.contains(address)),
        }
    }

    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.network.ipv4_gateway == address,
            IpAddr::V6(address) => self.network.ipv6_gateway == Some(address),
        }
    }

    /// The container that has an address.
    pub(super) fn holder(&self, address: IpAddr) -> Option<&str> {
        self.leases
            .iter()
            .find(|(_, held)| held.addresses().any(|own| own == address))
            .map(|(id, _)| id.as_str())
    }
}
