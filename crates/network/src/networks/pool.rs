//! Ready-made ports: making one takes the kernel a millisecond or more, handing one out nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_network_control::{Failure, FailureCode};

use super::{Networks, failure, gone, not_found, system_failure};
use crate::port::{Plan, Port, mac_of};

/// Ports that wait for a container.
const POOL_SIZE: usize = 2;
/// A lease means that a VM boots next: it needs the processors more than the pool does.
const REFILL_DELAY: Duration = Duration::from_millis(50);

impl Networks {
    /// A port of the pool, else a new one.
    pub(super) async fn take_port(self: &Arc<Self>, network: &str, mtu: u32) -> Result<Port, Failure> {
        let plan = {
            let mut state = self.state();
            let segment = state.segments.get_mut(network).ok_or_else(|| not_found(network))?;
            let ready = segment.pool.iter().position(|port| port.plan.mtu >= mtu);
            if let Some(port) = ready.and_then(|position| segment.pool.remove(position)) {
                return Ok(port);
            }
            let address = segment.take_address().ok_or_else(|| {
                failure(FailureCode::Exhausted, format!("network '{network}' has no free address"))
            })?;
            Plan {
                bridge_index: segment.bridge.index,
                address,
                mac: mac_of(address),
                mtu: mtu.max(segment.bridge.mtu),
            }
        };
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
        Some(Plan { bridge_index: segment.bridge.index, address, mac: mac_of(address), mtu })
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
            self.remove_port(port.plan.address, port.plan.mac).await;
        }
    }

    pub(super) async fn remove_port(&self, address: Ipv4Addr, mac: [u8; 6]) {
        if let Some(Err(error)) = self.remover.run(move |plumbing| plumbing.remove(address, mac)).await {
            tracing::warn!(%address, "cannot remove a port: {}", system_failure(&error));
        }
    }

    pub(super) fn forget_address(&self, network: &str, address: Ipv4Addr) {
        if let Some(segment) = self.state().segments.get_mut(network) {
            segment.free_address(address);
        }
    }
}
