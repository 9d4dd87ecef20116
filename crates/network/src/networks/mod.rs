//! Networks and leases.

mod configuration;
mod lease;
mod pool;
mod restore;
mod state;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bulkhead_network_control::{DEFAULT_NETWORK, Failure, FailureCode, Network, NetworkConfiguration};

use crate::dns::{Forwarder, Names, Server};
use crate::firewall::{INTERNAL_BRIDGE, OUTWARD_BRIDGE};
use crate::port::mac_of;
use crate::ports::Ports;
use crate::subnet::Subnet;
use crate::uplink::Uplink;
use crate::worker::Worker;

use configuration::Wanted;
pub(crate) use restore::Orphans;
use state::{Bridge, Segment, State};

/// Everything that this process does for containers.
#[derive(Debug)]
pub(crate) struct Networks {
    state: Mutex<State>,
    /// Creating and deleting networks happens one at a time.
    changing: tokio::sync::Mutex<()>,
    uplink: Mutex<Uplink>,
    forwarder: Forwarder,
    /// Makes bridges and ports.
    creator: Worker,
    /// Removes ports: that takes the kernel longer, and nobody waits for it.
    remover: Worker,
    ports: Ports,
}

pub(crate) fn failure(code: FailureCode, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

/// A failure of the kernel with its whole chain of reasons.
pub(crate) fn system_failure(error: &dyn std::error::Error) -> Failure {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message.push_str(": ");
        message.push_str(&error.to_string());
        source = error.source();
    }
    failure(FailureCode::System, message)
}

fn gone() -> Failure {
    failure(FailureCode::System, "container-network is ending")
}

impl Networks {
    pub(crate) fn new(
        uplink: Uplink,
        forwarder: Forwarder,
        creator: Worker,
        remover: Worker,
        ports: Ports,
        orphans: Orphans,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { orphans, ..State::default() }),
            changing: tokio::sync::Mutex::default(),
            uplink: Mutex::new(uplink),
            forwarder,
            creator,
            remover,
            ports,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that a network exists.
    pub(crate) async fn create(
        self: &Arc<Self>,
        configuration: NetworkConfiguration,
    ) -> Result<Network, Failure> {
        let wanted = Wanted::try_from(configuration)?;
        let _one_at_a_time = self.changing.lock().await;
        if let Some(network) = self.existing(&wanted)? {
            return Ok(network);
        }
        // Known but different and unused.
        self.remove_segment(&wanted.configuration.name).await?;
        let subnet = self.choose_subnet(&wanted)?;
        let gateway = subnet.address(1);
        let adopted = self.state().orphans.take_bridge(&wanted, subnet);
        let bridge = match adopted {
            Some(bridge) => bridge,
            None => self.make_bridge(&wanted, subnet).await?,
        };
        let names =
            NetworkNames { networks: Arc::downgrade(self), network: wanted.configuration.name.clone() };
        let forwarder = (!wanted.configuration.internal).then(|| self.forwarder.clone());
        let server = match Server::start(gateway, Box::new(names), forwarder).await {
            Ok(server) => server,
            Err(error) => {
                self.delete_device(bridge.name).await;
                return Err(failure(
                    FailureCode::System,
                    format!("cannot serve names on {gateway} port 53: {error}"),
                ));
            }
        };
        tracing::info!(network = wanted.configuration.name, %subnet, bridge = bridge.name, "network is ready");
        let network = Network {
            ipv4_subnet: subnet.to_string(),
            ipv4_gateway: gateway,
            ipv6_subnet: None,
            ipv6_gateway: None,
            configuration: wanted.configuration,
        };
        let mut state = self.state();
        let state = &mut *state;
        let mut segment = Segment::new(network.clone(), subnet, bridge, server);
        for address in state.orphans.addresses(segment.bridge.index) {
            segment.take(address);
        }
        state.segments.insert(network.configuration.name.clone(), segment);
        Ok(network)
    }

    async fn make_bridge(&self, wanted: &Wanted, subnet: Subnet) -> Result<Bridge, Failure> {
        let number = self.state().free_bridge_number();
        let prefix = if wanted.configuration.internal { INTERNAL_BRIDGE } else { OUTWARD_BRIDGE };
        let name = format!("{prefix}{number}");
        let (device, mtu) = (name.clone(), wanted.mtu);
        let (alias, gateway) = (restore::alias(&wanted.configuration.name, subnet), subnet.address(1));
        let index = self
            .creator
            .run(move |plumbing| {
                plumbing.links.add_bridge(&device, mac_of(gateway), mtu)?;
                plumbing.links.set_alias(&device, &alias)?;
                let index = plumbing.links.link(&device)?.index;
                plumbing.links.add_address(index, gateway, subnet.prefix_length())?;
                Ok(index)
            })
            .await
            .ok_or_else(gone)?;
        match index {
            Ok(index) => Ok(Bridge { name, number, index, mtu }),
            Err(error) => {
                self.delete_device(name).await;
                let error: crate::netlink::NetlinkError = error;
                Err(system_failure(&error))
            }
        }
    }

    /// The network if it is as wanted; `None` if it has to be made.
    fn existing(&self, wanted: &Wanted) -> Result<Option<Network>, Failure> {
        let state = self.state();
        let Some(segment) = state.segments.get(&wanted.configuration.name) else { return Ok(None) };
        let fits = wanted.subnet.is_none_or(|subnet| subnet == segment.subnet)
            && wanted.configuration.internal == segment.network.configuration.internal
            && wanted.configuration.options == segment.network.configuration.options;
        if fits {
            return Ok(Some(segment.network.clone()));
        }
        if segment.leases.is_empty() {
            return Ok(None);
        }
        Err(failure(
            FailureCode::Exists,
            format!("network '{}' is in use with another configuration", wanted.configuration.name),
        ))
    }

    fn choose_subnet(&self, wanted: &Wanted) -> Result<Subnet, Failure> {
        let host = self
            .uplink
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .host_subnets()
            .map_err(|error| system_failure(&error))?;
        let state = self.state();
        let is_free = |subnet: Subnet| {
            !host.iter().any(|other| other.overlaps(subnet))
                && !state.segments.values().any(|segment| segment.subnet.overlaps(subnet))
        };
        let name = &wanted.configuration.name;
        match wanted.subnet {
            Some(subnet) if is_free(subnet) => Ok(subnet),
            Some(subnet) => Err(failure(
                FailureCode::Exists,
                format!(
                    "subnet {subnet} of network '{name}' overlaps another network or a route of this host"
                ),
            )),
            None => configuration::default_subnets().find(|subnet| is_free(*subnet)).ok_or_else(|| {
                failure(FailureCode::Exhausted, format!("no free subnet for network '{name}'"))
            }),
        }
    }

    /// Removes a network that no container uses.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Failure> {
        let _one_at_a_time = self.changing.lock().await;
        if !self.state().segments.contains_key(name) {
            return Err(not_found(name));
        }
        self.remove_segment(name).await
    }

    async fn remove_segment(&self, name: &str) -> Result<(), Failure> {
        let segment = {
            let mut state = self.state();
            match state.segments.get(name) {
                None => return Ok(()),
                Some(segment) if segment.leases.is_empty() => {}
                Some(_) => {
                    return Err(failure(
                        FailureCode::InUse,
                        format!("network '{name}' is used by containers"),
                    ));
                }
            }
            state.segments.remove(name)
        };
        let Some(segment) = segment else { return Ok(()) };
        segment.server.stop().await;
        for port in segment.pool {
            self.remove_port(port.plan.address, port.plan.mac).await;
        }
        self.delete_device(segment.bridge.name).await;
        Ok(())
    }

    async fn delete_device(&self, name: String) {
        let deleted = self.creator.run(move |plumbing| plumbing.links.delete_link(&name)).await;
        if let Some(Err(error)) = deleted {
            tracing::warn!("{}", system_failure(&error));
        }
    }

    /// All networks, by name.
    pub(crate) fn list(&self) -> Vec<Network> {
        self.state().segments.values().map(|segment| segment.network.clone()).collect()
    }

    /// Removes what is in the host's namespace; ours goes with the process.
    pub(crate) fn take_down(&self) -> Result<(), Failure> {
        let mut uplink = self.uplink.lock().unwrap_or_else(PoisonError::into_inner);
        uplink.take_down().map_err(|error| system_failure(&error))
    }

    /// The default network exists even if nobody asked for it.
    async fn ensure(self: &Arc<Self>, name: &str) -> Result<(), Failure> {
        if self.state().segments.contains_key(name) {
            return Ok(());
        }
        if name != DEFAULT_NETWORK {
            return Err(not_found(name));
        }
        let configuration = NetworkConfiguration {
            name: name.to_owned(),
            ipv4_subnet: None,
            ipv6_subnet: None,
            internal: false,
            options: std::collections::BTreeMap::new(),
        };
        self.create(configuration).await.map(drop)
    }
}

fn not_found(name: &str) -> Failure {
    let name: String = name.chars().take(64).collect();
    failure(FailureCode::NotFound, format!("network '{}' not found", name.escape_debug()))
}

/// Names of the host.
const HOST_NAMES: [&str; 2] = ["host.container.internal", "host.docker.internal"];

/// The names of one network, as its DNS server sees them.
struct NetworkNames {
    networks: Weak<Networks>,
    network: String,
}

impl Names for NetworkNames {
    fn find(&self, name: &str, client: IpAddr) -> Vec<Ipv4Addr> {
        let Some(networks) = self.networks.upgrade() else { return Vec::new() };
        let state = networks.state();
        let Some(segment) = state.segments.get(&self.network) else { return Vec::new() };
        if HOST_NAMES.contains(&name) {
            return vec![segment.network.ipv4_gateway];
        }
        let found = segment.find(name);
        if !found.is_empty() {
            return found;
        }
        // A container asks one server for the names of all its networks. Nobody can ask with the
        // address of another: the bridge drops that.
        let IpAddr::V4(client) = client else { return Vec::new() };
        let Some(asking) = segment.holder(client) else { return Vec::new() };
        let others = state
            .segments
            .iter()
            .filter(|(name, other)| **name != self.network && other.leases.contains_key(asking));
        others.map(|(_, other)| other.find(name)).find(|found| !found.is_empty()).unwrap_or_default()
    }
}
