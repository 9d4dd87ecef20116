//! Ready-made ports: making one takes the kernel a millisecond or more, handing one out nothing.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_network_control::{Failure, FailureCode};

use super::state::Segment;
use super::{Networks, failure, gone, not_found, system_failure};
use crate::port::{Identity, Plan, Port, mac_of};

/// Ports that wait for a container.
const POOL_SIZE: usize = 2;
/// How long somebody may still hold an address that is asked for.
const IN_USE_LIMIT: Duration = Duration::from_secs(2);
const IN_USE_PAUSE: Duration = Duration::from_millis(10);
/// A lease means that a VM boots next: it needs the processors more than the pool does.
const REFILL_DELAY: Duration = Duration::from_millis(50);

/// What there is behind an address.
enum Taken {
    Ready(Port),
    Free(Plan),
    Busy,
}

fn plan(segment: &Segment, address: Ipv4Addr, mtu: u32) -> Plan {
    Plan {
        bridge_index: segment.bridge.index,
        address,
        address6: segment.subnet6.map(|subnet| subnet.derived(address)),
        mac: mac_of(address),
        mtu: mtu.max(segment.bridge.mtu),
    }
}

impl Networks {
    /// A port of the pool, else a new one.
    pub(super) async fn take_port(self: &Arc<Self>, network: &str, mtu: u32) -> Result<Port, Failure> {
        let deadline = Instant::now() + IN_USE_LIMIT;
        loop {
            match self.try_take_any(network, mtu)? {
                Taken::Ready(port) => return Ok(port),
                Taken::Free(plan) => return self.make_port(network, plan).await,
                // Of containers that ended just now.
                Taken::Busy if self.has_addresses_on_their_way(network) && Instant::now() < deadline => {
                    tokio::time::sleep(IN_USE_PAUSE).await;
                }
                Taken::Busy => {
                    return Err(failure(
                        FailureCode::Exhausted,
                        format!("network '{network}' has no free address"),
                    ));
                }
            }
        }
    }

    fn try_take_any(&self, network: &str, mtu: u32) -> Result<Taken, Failure> {
        let mut state = self.state();
        let segment = state.segments.get_mut(network).ok_or_else(|| not_found(network))?;
        let ready = segment.pool.iter().position(|port| port.plan.mtu >= mtu);
        if let Some(port) = ready.and_then(|position| segment.pool.remove(position)) {
            return Ok(Taken::Ready(port));
        }
        Ok(match segment.take_address() {
            Some(address) => Taken::Free(plan(segment, address, mtu)),
            None => Taken::Busy,
        })
    }

    /// Whether ports are being made or removed.
    fn has_addresses_on_their_way(&self, network: &str) -> bool {
        self.state().segments.get(network).is_some_and(Segment::has_addresses_on_their_way)
    }

    /// The port of a certain address.
    pub(super) async fn take_port_of(
        self: &Arc<Self>,
        network: &str,
        address: Ipv4Addr,
        mtu: u32,
    ) -> Result<Port, Failure> {
        let deadline = Instant::now() + IN_USE_LIMIT;
        loop {
            match self.try_take(network, address, mtu)? {
                Taken::Ready(port) if port.plan.mtu >= mtu => return Ok(port),
                Taken::Ready(port) => {
                    let identity = port.plan.identity();
                    drop(port);
                    self.remove_port(identity).await;
                    self.forget_address(network, address);
                }
                Taken::Free(plan) => return self.make_port(network, plan).await,
                // Of a container that ended just now, or on its way into the pool.
                Taken::Busy if Instant::now() < deadline => tokio::time::sleep(IN_USE_PAUSE).await,
                Taken::Busy => {
                    return Err(failure(
                        FailureCode::Exists,
                        format!("address {address} of network '{network}' is in use"),
                    ));
                }
            }
        }
    }

    fn try_take(&self, network: &str, address: Ipv4Addr, mtu: u32) -> Result<Taken, Failure> {
        let mut state = self.state();
        let segment = state.segments.get_mut(network).ok_or_else(|| not_found(network))?;
        if !segment.offers(address) {
            return Err(failure(
                FailureCode::InvalidArgument,
                format!(
                    "{address} is no address for a container on network '{network}' ({})",
                    segment.subnet
                ),
            ));
        }
        if let Some(holder) = segment.holder(address.into()) {
            return Err(failure(
                FailureCode::Exists,
                format!("address {address} of network '{network}' belongs to container '{holder}'"),
            ));
        }
        let ready = segment.pool.iter().position(|port| port.plan.address == address);
        if let Some(port) = ready.and_then(|position| segment.pool.remove(position)) {
            return Ok(Taken::Ready(port));
        }
        Ok(if segment.take(address) { Taken::Free(plan(segment, address, mtu)) } else { Taken::Busy })
    }

    async fn make_port(self: &Arc<Self>, network: &str, plan: Plan) -> Result<Port, Failure> {
        let address = plan.address;
        match self.creator.run(move |plumbing| plumbing.create(plan)).await {
            Some(Ok(port)) => Ok(port),
            outcome => {
                self.forget_address(network, address);
                Err(outcome.and_then(Result::err).map_or_else(gone, |error| system_failure(&error)))
            }
        }
    }

    /// Fills the pool in the background.
    pub(super) fn refill(self: &Arc<Self>, network: &str) {
        match self.state().segments.get_mut(network) {
            Some(segment) if !segment.filling => segment.filling = true,
            _ => return,
        }
        let networks = Arc::clone(self);
        let network = network.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(REFILL_DELAY).await;
            while let Some(plan) = networks.next_of_pool(&network) {
                let address = plan.address;
                match networks.creator.run(move |plumbing| plumbing.create(plan)).await {
                    Some(Ok(port)) => networks.put_into_pool(&network, port).await,
                    outcome => {
                        networks.forget_address(&network, address);
                        if let Some(Err(error)) = outcome {
                            tracing::warn!(network, "cannot make a port: {}", system_failure(&error));
                        }
                        break;
                    }
                }
            }
            if let Some(segment) = networks.state().segments.get_mut(&network) {
                segment.filling = false;
            }
        });
    }

    fn next_of_pool(&self, network: &str) -> Option<Plan> {
        let mut state = self.state();
        let segment = state.segments.get_mut(network).filter(|segment| segment.pool.len() < POOL_SIZE)?;
        let address = segment.take_address()?;
        let mtu = segment.bridge.mtu;
        Some(plan(segment, address, mtu))
    }

    async fn put_into_pool(&self, network: &str, port: Port) {
        let homeless = {
            let mut state = self.state();
            // The network may have been made anew meanwhile.
            match state.segments.get_mut(network) {
                Some(segment) if segment.bridge.index == port.plan.bridge_index => {
                    segment.pool.push_back(port);
                    None
                }
                _ => Some(port),
            }
        };
        if let Some(port) = homeless {
            self.remove_port(port.plan.identity()).await;
        }
    }

    pub(super) async fn remove_port(&self, identity: Identity) {
        self.remove_port_and_close(identity, None).await;
    }

    /// The socket is closed where nobody waits.
    pub(super) async fn remove_port_and_close(&self, identity: Identity, socket: Option<Arc<OwnedFd>>) {
        let removal = self.remover.run(move |plumbing| {
            let removed = plumbing.remove(&identity);
            drop(socket);
            removed
        });
        if let Some(Err(error)) = removal.await {
            tracing::warn!(address = %identity.address, "cannot remove a port: {}", system_failure(&error));
        }
    }

    pub(super) fn forget_address(&self, network: &str, address: Ipv4Addr) {
        if let Some(segment) = self.state().segments.get_mut(network) {
            segment.free_address(address);
        }
    }
}
