//! Networks and leases.

mod configuration;
mod domains;
mod egress;
mod lease;
mod names;
pub(crate) mod openings;
mod pool;
mod restore;
mod state;

use std::net::SocketAddrV4;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_network_control::{DEFAULT_NETWORK, Failure, FailureCode, Network, NetworkConfiguration};

use tokio::runtime::Handle;

use crate::dns::{self, Forwarder, Server};
use crate::egress::pins::Pins;
use crate::firewall::{self, INTERNAL_BRIDGE, OUTWARD_BRIDGE};
use crate::netlink::Socket;
use crate::outlet::Outlet;
use crate::port::mac_of;
use crate::ports::Ports;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;
use crate::uplink::ipv6;
use crate::worker::Worker;

use configuration::Wanted;
use domains::Domains;
use egress::Denials;
use names::NetworkNames;
pub(crate) use restore::Orphans;
use state::{Bridge, Segment, State};

/// Everything that this process does for containers.
#[derive(Debug)]
pub(crate) struct Networks {
    state: Mutex<State>,
    /// Creating and deleting networks happens one at a time.
    changing: tokio::sync::Mutex<()>,
    uplink: Mutex<Outlet>,
    forwarder: Forwarder,
    /// Makes bridges and ports.
    creator: Worker,
    /// Removes ports: that takes the kernel longer, and nobody waits for it.
    remover: Worker,
    ports: Ports,
    denials: Denials,
    /// What an earlier process left of names.
    pins: Arc<Mutex<Pins>>,
    domains: Mutex<Domains>,
    /// Runs in the host's namespace.
    host: Handle,
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
        mut uplink: Outlet,
        host: Handle,
        creator: Worker,
        remover: Worker,
        ports: Ports,
        orphans: Orphans,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { orphans, ..State::default() }),
            changing: tokio::sync::Mutex::default(),
            pins: Arc::new(Mutex::new(uplink.take_pins())),
            uplink: Mutex::new(uplink),
            forwarder: Forwarder::new(host.clone()),
            creator,
            remover,
            ports,
            denials: Denials::default(),
            domains: Mutex::default(),
            host,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uplink(&self) -> MutexGuard<'_, Outlet> {
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.check_subnet6(&wanted)?;
        let gateway = subnet.address(1);
        let adopted = self.state().orphans.take_bridge(&wanted, subnet);
        let (bridge, left_behind) = match adopted {
            Some((bridge, link)) => {
                self.give_ipv6(&bridge, &wanted).await?;
                (bridge, Some(link))
            }
            None => (self.make_bridge(&wanted, subnet).await?, None),
        };
        let names =
            NetworkNames { networks: Arc::downgrade(self), network: wanted.configuration.name.clone() };
        let forwarder = (!wanted.configuration.internal).then(|| self.forwarder.clone());
        let server =
            match Server::start(SocketAddrV4::new(gateway, dns::PORT), Box::new(names), forwarder).await {
                Ok(server) => server,
                Err(error) => {
                    match left_behind {
                        Some(link) => self.state().orphans.put_back(link),
                        None => self.delete_device(bridge.name).await,
                    }
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
            ipv6_subnet: wanted.subnet6.map(|subnet| subnet.to_string()),
            ipv6_gateway: wanted.subnet6.map(Subnet6::gateway),
            configuration: wanted.configuration,
        };
        let led = self.lead_host_to(subnet);
        if let Err(failure) = &led {
            tracing::warn!("the host cannot reach the containers of {subnet}: {failure}");
        }
        let mut state = self.state();
        let state = &mut *state;
        let mut segment = Segment::new(network.clone(), (subnet, wanted.subnet6), bridge, server);
        segment.is_led_to = led.unwrap_or(false);
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
                plumbing.links.add_address(index, gateway.into(), subnet.prefix_length())?;
                Ok(index)
            })
            .await
            .ok_or_else(gone)?;
        match index {
            Ok(index) => {
                let bridge = Bridge { name, number, index, mtu };
                if let Err(failure) = self.give_ipv6(&bridge, wanted).await {
                    self.delete_device(bridge.name).await;
                    return Err(failure);
                }
                Ok(bridge)
            }
            Err(error) => {
                self.delete_device(name).await;
                let error: crate::netlink::NetlinkError = error;
                Err(system_failure(&error))
            }
        }
    }

    /// Gives a bridge its IPv6 address, if it is to have one.
    async fn give_ipv6(&self, bridge: &Bridge, wanted: &Wanted) -> Result<(), Failure> {
        let Some(subnet) = wanted.subnet6 else { return Ok(()) };
        let (name, index) = (bridge.name.clone(), bridge.index);
        // A worker's thread is in our namespace between jobs.
        let given = self.creator.run(move |plumbing| {
            ipv6::turn_on(&name).map_err(|error| system_failure(&error))?;
            match plumbing.links.add_address(index, subnet.gateway().into(), subnet.prefix_length()) {
                Err(error) if !error.is_existing() => Err(system_failure(&error)),
                _ => Ok(()),
            }
        });
        given.await.ok_or_else(gone)?
    }

    /// Nobody else may have the subnet.
    fn check_subnet6(&self, wanted: &Wanted) -> Result<(), Failure> {
        let Some(subnet) = wanted.subnet6 else { return Ok(()) };
        let host = self.uplink().host_subnets6().map_err(|error| system_failure(&error))?;
        let name = &wanted.configuration.name;
        let state = self.state();
        let others = state.segments.values().filter_map(|segment| segment.subnet6);
        if !host.into_iter().chain(others).any(|other| other.overlaps(subnet)) {
            return Ok(());
        }
        Err(failure(
            FailureCode::Exists,
            format!("subnet {subnet} of network '{name}' overlaps another network or a route of this host"),
        ))
    }

    /// The network if it is as wanted; `None` if it has to be made.
    fn existing(&self, wanted: &Wanted) -> Result<Option<Network>, Failure> {
        let state = self.state();
        let Some(segment) = state.segments.get(&wanted.configuration.name) else { return Ok(None) };
        let fits = wanted.subnet.is_none_or(|subnet| subnet == segment.subnet)
            && wanted.subnet6 == segment.subnet6
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
        let host = self.uplink().host_subnets().map_err(|error| system_failure(&error))?;
        // Containers would reach the host's loopback there instead of each other.
        let redirected = self.domains().loopback_addresses();
        let state = self.state();
        let is_free = |subnet: Subnet| {
            !host.iter().any(|other| other.overlaps(subnet))
                && !redirected.iter().any(|address| subnet.offset(*address).is_some())
                && !state.segments.values().any(|segment| segment.subnet.overlaps(subnet))
        };
        let name = &wanted.configuration.name;
        match wanted.subnet {
            Some(subnet) if is_free(subnet) => Ok(subnet),
            Some(subnet) => Err(failure(
                FailureCode::Exists,
                format!(
                    "subnet {subnet} of network '{name}' overlaps another network, a route of this host or an \
                     address that stands for its loopback"
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
            self.remove_port(port.plan.identity()).await;
        }
        self.delete_device(segment.bridge.name).await;
        let led_no_more = self.uplink().pair().map(|uplink| uplink.lead_no_more(segment.subnet));
        if let Some(Err(error)) = led_no_more {
            tracing::warn!("{}", system_failure(&error));
        }
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

    /// Tells of changes of the host's rules, once; an ordinary user has none there.
    pub(crate) fn take_rule_changes(&self) -> Option<Socket> {
        self.uplink().pair()?.take_rule_changes()
    }

    /// Puts the host's rules back when somebody has removed them.
    pub(crate) fn mend_rules(&self) -> Result<(), Failure> {
        // Held to the end: what is being taken down is not made anew.
        let mut uplink = self.uplink();
        let Some(rules) = uplink.missing_rules().map_err(|error| system_failure(&error))? else {
            return Ok(());
        };
        tracing::warn!("somebody removed our rules of the host; putting them back");
        let (sender, receiver) = mpsc::channel();
        self.host.spawn(async move {
            let loaded = match firewall::load("the host's rules", &rules) {
                Ok(nft) => nft.finished().await,
                Err(error) => Err(error),
            };
            // Nobody waits any more when the process ends.
            drop(sender.send(loaded));
        });
        receiver.recv().map_err(|_| gone())?.map_err(|error| system_failure(&error))
    }

    /// Removes what is in the host's namespace; ours goes with the process.
    pub(crate) fn take_down(&self) -> Result<(), Failure> {
        self.uplink().take_down()
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
