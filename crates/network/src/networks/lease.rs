//! Interfaces of containers.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bulkhead_network_control::{
    Failure, FailureCode, Lease, LeaseRequest, PortRange, PublishRequest, RenameRequest,
};

use super::configuration::{DEFAULT_MTU_BYTES, check_mac, check_mtu, check_name};
use super::state::Holding;
use super::{Networks, failure, gone, not_found, system_failure};
use crate::egress::Policy;
use crate::port::{Port, mac_of};
use crate::ports::{Answers, Container};

impl Networks {
    /// Gives a container an interface; the descriptor is its packet socket.
    pub(crate) async fn lease(self: &Arc<Self>, request: LeaseRequest) -> Result<(Lease, OwnedFd), Failure> {
        check_name("container id", &request.container_id)?;
        check_name("host name", &request.hostname)?;
        let wanted_mac = request.mac_address.as_deref().map(check_mac).transpose()?;
        let wanted_mtu = request.mtu.map(|mtu| check_mtu(Some(mtu))).transpose()?;
        self.ensure(&request.network).await?;
        let network = request.network.as_str();
        let mtu = match wanted_mtu {
            Some(mtu) => mtu,
            None => {
                self.state().segments.get(network).map_or(DEFAULT_MTU_BYTES, |segment| segment.bridge.mtu)
            }
        };
        for alias in &request.aliases {
            check_name("alias", alias)?;
        }
        self.check_free(&request, wanted_mac)?;
        self.check_address6(&request)?;
        let mut port = match request.ipv4_address {
            Some(address) => self.take_port_of(network, address, mtu).await?,
            None => self.take_port(network, mtu).await?,
        };
        let policy = match self.adapt(&request, &mut port, mtu, wanted_mac).await {
            Ok(policy) => policy,
            Err(failure) => {
                self.give_back(network, port, None).await;
                return Err(failure);
            }
        };
        match self.record(&request, &port, mtu, policy.clone()) {
            Ok(lease) => {
                self.refill(network);
                tracing::info!(
                    container = request.container_id,
                    network,
                    address = lease.ipv4_address,
                    "leased"
                );
                Ok((lease, port.socket))
            }
            Err(failure) => {
                self.give_back(network, port, policy.as_deref()).await;
                Err(failure)
            }
        }
    }

    /// Whether nobody else on the network has the id, the name or the MAC address.
    fn check_free(&self, request: &LeaseRequest, mac: Option<[u8; 6]>) -> Result<(), Failure> {
        let state = self.state();
        let network = request.network.as_str();
        let segment = state.segments.get(network).ok_or_else(|| not_found(network))?;
        let exists = |message| Err(failure(FailureCode::Exists, message));
        if segment.leases.contains_key(&request.container_id) {
            return exists(format!("container '{}' is on network '{network}' already", request.container_id));
        }
        let hostname = request.hostname.to_ascii_lowercase();
        if let Some((id, _)) = segment
            .leases
            .iter()
            .find(|(id, held)| held.hostname == hostname || id.eq_ignore_ascii_case(&hostname))
        {
            return exists(format!(
                "host name '{hostname}' on network '{network}' belongs to container '{id}'"
            ));
        }
        if let Some(mac) = mac
            && (mac == mac_of(segment.network.ipv4_gateway)
                || segment.leases.values().any(|held| held.mac == mac)
                || segment.pool.iter().any(|port| port.plan.mac == mac))
        {
            return exists(format!("MAC address {} is in use on network '{network}'", format_mac(mac)));
        }
        Ok(())
    }

    /// Whether a wanted IPv6 address can be had.
    fn check_address6(&self, request: &LeaseRequest) -> Result<(), Failure> {
        let Some(address) = request.ipv6_address else { return Ok(()) };
        let state = self.state();
        let network = request.network.as_str();
        let segment = state.segments.get(network).ok_or_else(|| not_found(network))?;
        let Some(subnet) = segment.subnet6 else {
            return Err(failure(FailureCode::InvalidArgument, format!("network '{network}' has no IPv6")));
        };
        if let Some(address4) = subnet.origin(address) {
            return Err(failure(
                FailureCode::InvalidArgument,
                format!("{address} goes with the IPv4 address {address4}: ask for that, with --ip"),
            ));
        }
        if !subnet.offers(address) {
            return Err(failure(
                FailureCode::InvalidArgument,
                format!("{address} is no address for a container on network '{network}' ({subnet})"),
            ));
        }
        match segment.holder(address.into()) {
            None => Ok(()),
            Some(holder) => Err(failure(
                FailureCode::Exists,
                format!("address {address} of network '{network}' belongs to container '{holder}'"),
            )),
        }
    }

    /// Makes a port what its container wants.
    async fn adapt(
        &self,
        request: &LeaseRequest,
        port: &mut Port,
        mtu: u32,
        mac: Option<[u8; 6]>,
    ) -> Result<Option<Arc<Policy>>, Failure> {
        let network = request.network.as_str();
        let wanted = (mac.unwrap_or(port.plan.mac), request.ipv6_address.or(port.plan.address6));
        if wanted != (port.plan.mac, port.plan.address6) {
            let (plan, (mac, address6)) = (port.plan.clone(), wanted);
            let changed = self.creator.run(move |plumbing| plumbing.change(&plan, mac, address6)).await;
            (port.plan.mac, port.plan.address6) = wanted;
            changed.ok_or_else(gone)?.map_err(|error| system_failure(&error))?;
        }
        let known = self
            .state()
            .segments
            .get(network)
            .map(|segment| (segment.bridge.clone(), segment.network.ipv4_gateway));
        let (bridge, gateway) = known.ok_or_else(|| not_found(network))?;
        if let Some(bridge) = Some(bridge).filter(|bridge| bridge.mtu < mtu) {
            let changed = self.creator.run(move |plumbing| plumbing.links.set_mtu(&bridge.name, mtu)).await;
            changed.ok_or_else(gone)?.map_err(|error| system_failure(&error))?;
        }
        let policy = self.enforce(request.egress.clone(), &port.plan, gateway).await?;
        if policy.is_some() {
            self.forget_connections(&port.plan.identity()).await?;
        }
        Ok(policy)
    }

    fn record(
        &self,
        request: &LeaseRequest,
        port: &Port,
        mtu: u32,
        policy: Option<Arc<Policy>>,
    ) -> Result<Lease, Failure> {
        // Somebody may have been faster while the port was made.
        self.check_free(request, None)?;
        self.check_address6(request)?;
        let mut state = self.state();
        let segment = state.segments.get_mut(&request.network).ok_or_else(|| not_found(&request.network))?;
        if segment.bridge.index != port.plan.bridge_index {
            return Err(not_found(&request.network));
        }
        let holding = Holding {
            hostname: request.hostname.to_ascii_lowercase(),
            address: port.plan.address,
            address6: port.plan.address6,
            mac: port.plan.mac,
            aliases: request.aliases.iter().map(|alias| alias.to_ascii_lowercase()).collect(),
            policy,
            socket: port.socket.try_clone().ok().map(Arc::new),
        };
        segment.leases.insert(request.container_id.clone(), holding);
        Ok(Lease {
            network: request.network.clone(),
            ipv4_address: format!("{}/{}", port.plan.address, segment.subnet.prefix_length()),
            ipv4_gateway: segment.network.ipv4_gateway,
            ipv6_address: port
                .plan
                .address6
                .zip(segment.subnet6)
                .map(|(address, subnet)| format!("{address}/{}", subnet.prefix_length())),
            ipv6_gateway: segment.network.ipv6_gateway,
            mac_address: format_mac(port.plan.mac),
            mtu,
            internal: segment.network.configuration.internal,
        })
    }

    async fn give_back(&self, network: &str, port: Port, policy: Option<&Policy>) {
        let identity = port.plan.identity();
        let address = identity.address;
        drop(port);
        self.remove_port(identity).await;
        self.lift(policy, &identity).await;
        self.forget_address(network, address);
    }

    /// Binds ports of the host that lead to a container.
    pub(crate) async fn publish(&self, request: PublishRequest) -> Result<Vec<PortRange>, Failure> {
        let PublishRequest { container_id, network, ports } = request;
        let container = self.published_at(&container_id, &network)?;
        self.ports.publish(&container_id, container, &ports).await
    }

    /// The addresses of a container on a network, and how it answers who comes by there.
    fn published_at(&self, container_id: &str, network: &str) -> Result<Container, Failure> {
        let state = self.state();
        let segment = state.segments.get(network).ok_or_else(|| not_found(network))?;
        let held = segment.leases.get(container_id).ok_or_else(|| {
            failure(
                FailureCode::NotFound,
                format!("container '{container_id}' is not on network '{network}'"),
            )
        })?;
        // The first network that leads outside has the way to everybody, and ports are those of the first.
        let own = state.segments.values().filter(|segment| segment.leases.contains_key(container_id));
        let (own, own6): (Vec<_>, Vec<_>) = own.map(|segment| (segment.subnet, segment.subnet6)).unzip();
        let answers = match segment.network.configuration.internal {
            true => Answers::Nowhere,
            false => Answers::ToGateway { own, own6: own6.into_iter().flatten().collect() },
        };
        Ok(Container { address: held.address, address6: held.address6, answers })
    }

    /// Gives what a container holds its new names.
    pub(crate) fn rename(&self, request: &RenameRequest) -> Result<(), Failure> {
        let RenameRequest { container_id: old, new_container_id: new, hostnames } = request;
        check_name("container id", new)?;
        for hostname in hostnames.values() {
            check_name("host name", hostname)?;
        }
        let mut state = self.state();
        for (network, segment) in
            state.segments.iter().filter(|(_, segment)| segment.leases.contains_key(old))
        {
            let hostname = hostnames.get(network).unwrap_or(new).to_ascii_lowercase();
            let mut others = segment.leases.iter().filter(|(id, _)| *id != old);
            let holder = others.find(|(id, held)| {
                *id == new || held.hostname == hostname || id.eq_ignore_ascii_case(&hostname)
            });
            if let Some((id, _)) = holder {
                return Err(failure(
                    FailureCode::Exists,
                    format!("host name '{hostname}' on network '{network}' belongs to container '{id}'"),
                ));
            }
        }
        for (network, segment) in &mut state.segments {
            if let Some(mut held) = segment.leases.remove(old) {
                held.hostname = hostnames.get(network).unwrap_or(new).to_ascii_lowercase();
                tracing::info!(container = old, new, network, address = %held.address, "renamed");
                segment.leases.insert(new.clone(), held);
            }
        }
        drop(state);
        self.ports.rename(old, new);
        Ok(())
    }

    /// Ends the leases of one container and frees its ports of the host; its interfaces go in the
    /// background.
    pub(crate) async fn release(self: &Arc<Self>, container_id: &str) {
        self.ports.unpublish(container_id).await;
        self.release_where(|id| id == container_id);
    }

    /// Ends the leases of all others.
    pub(crate) async fn retain(self: &Arc<Self>, container_ids: &[String]) {
        self.ports.retain(container_ids).await;
        let keep: BTreeSet<&str> = container_ids.iter().map(String::as_str).collect();
        self.release_where(|id| !keep.contains(id));
        self.sweep();
    }

    fn release_where(self: &Arc<Self>, ends: impl Fn(&str) -> bool) {
        let mut ended = Vec::new();
        for (network, segment) in &mut self.state().segments {
            segment.leases.retain(|id, held| {
                let end = ends(id);
                if end {
                    tracing::info!(container = id, network, address = %held.address, "released");
                    ended.push((network.clone(), held.identity(), held.policy.take(), held.socket.take()));
                }
                !end
            });
        }
        for (network, identity, policy, socket) in ended {
            let networks = Arc::clone(self);
            tokio::spawn(async move {
                networks.remove_port_and_close(identity, socket).await;
                networks.lift(policy.as_deref(), &identity).await;
                networks.forget_address(&network, identity.address);
            });
        }
    }
}

fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
