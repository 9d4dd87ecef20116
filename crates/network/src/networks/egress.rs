//! Egress policies of leases: their rules, the names that they allow, and what was refused.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulkhead_network_control::{Denial, EgressPolicy, Failure};
use tokio::sync::Notify;

use super::state::Holding;
use super::{Networks, gone, system_failure};
use crate::egress::refusals::Refused;
use crate::egress::{Policy, may_stand_behind_a_name, set};
use crate::firewall;
use crate::netlink::filter::Family;
use crate::port::{Identity, Plan, mac_of};

/// Refusals that wait for the apiserver; it hears of the latest.
const MAXIMUM_DENIALS: usize = 256;
/// How long the apiserver waits for the next one.
const DENIALS_LIMIT: Duration = Duration::from_secs(20);
/// How long an address stays behind a name, whatever the answer says: programs remember it for longer than
/// they should, and what has begun goes on anyway.
const PINNED: std::ops::RangeInclusive<u32> = 300..=3600;

/// Refusals that nobody has heard of.
#[derive(Debug, Default)]
pub(super) struct Denials {
    waiting: Mutex<VecDeque<Denial>>,
    news: Notify,
    /// Refused names of each client, and since when they are counted: the kernel bounds only packets.
    names: Mutex<HashMap<IpAddr, (Instant, usize)>>,
}

/// Refused names of one container that are told, in one period.
const MAXIMUM_NAMES: usize = 20;
/// Addresses of one answer that can be reached: whoever answers for a name decides how many there are.
const MAXIMUM_PINS: usize = 32;
const NAMES_PERIOD: Duration = Duration::from_secs(10);

impl Denials {
    fn push(&self, denial: Denial) {
        tracing::info!(
            container = denial.container_id,
            destination = denial.destination,
            protocol = denial.protocol,
            "egress denied"
        );
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == MAXIMUM_DENIALS {
            waiting.pop_front();
        }
        waiting.push_back(denial);
        self.news.notify_one();
    }

    /// Whether a refused name of this client is told.
    fn has_room_for_name(&self, client: IpAddr) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, (since, _)| since.elapsed() < NAMES_PERIOD);
        let (_, count) = names.entry(client).or_insert((Instant::now(), 0));
        *count += 1;
        *count <= MAXIMUM_NAMES
    }

    fn take(&self) -> Vec<Denial> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl Networks {
    /// Puts a policy into force, before its container can send.
    pub(super) async fn enforce(
        &self,
        wanted: Option<EgressPolicy>,
        plan: &Plan,
        gateway: std::net::Ipv4Addr,
    ) -> Result<Option<Arc<Policy>>, Failure> {
        let Some(wanted) = wanted else { return Ok(None) };
        let policy = Policy::try_from(wanted)?;
        let rules = policy.installation(plan, mac_of(gateway));
        self.load_rules("the rules of an egress policy", rules).await?;
        Ok(Some(Arc::new(policy)))
    }

    /// Has no policy let pass what an earlier container with these addresses began: what goes on is not judged.
    pub(super) async fn forget_connections(&self, own: &Identity) -> Result<(), Failure> {
        let addresses = [Some(own.address.into()), own.address6.map(IpAddr::from)];
        let forgotten = self.creator.run(move |plumbing| {
            addresses
                .into_iter()
                .flatten()
                .try_for_each(|address| plumbing.filters.forget_connections(address))
        });
        forgotten.await.ok_or_else(gone)?.map_err(|error| system_failure(&error))
    }

    /// Takes a policy out of force, after its port is gone.
    pub(super) async fn lift(&self, policy: Option<&Policy>, identity: &Identity) {
        let Some(policy) = policy else { return };
        if let Err(failure) =
            self.load_rules("the removal of an egress policy", policy.removal(identity)).await
        {
            tracing::error!(address = %identity.address, "{failure}");
        }
    }

    pub(super) async fn load_rules(&self, what: &'static str, rules: String) -> Result<(), Failure> {
        // A worker's thread is in our namespace between jobs.
        let loaded =
            self.remover.run(move |_| firewall::load(what, &rules).and_then(|nft| nft.finish())).await;
        loaded.ok_or_else(gone)?.map_err(|error| system_failure(&error))
    }

    /// The policy of whoever has an address.
    pub(super) fn policy_of(&self, client: IpAddr) -> Option<Arc<Policy>> {
        let state = self.state();
        let mut held = state.segments.values().flat_map(|segment| segment.leases.values());
        held.find(|held| held.addresses().any(|own| own == client)).and_then(|held| held.policy.clone())
    }

    /// Lets a container reach what a name stands for: others only once the answer is out. False if that
    /// failed.
    pub(super) async fn pin(
        &self,
        client: IpAddr,
        name: &str,
        rules: &[usize],
        addresses: &[IpAddr],
        ttl_s: u32,
    ) -> bool {
        let own: Vec<Identity> = {
            let state = self.state();
            let Some(id) = state.segments.values().find_map(|segment| segment.holder(client)) else {
                return false;
            };
            // A container asks one server for all that it reaches by any of its interfaces.
            let held = state.segments.values().filter_map(|segment| segment.leases.get(id));
            held.map(Holding::identity).collect()
        };
        let timeout = Duration::from_secs(ttl_s.clamp(*PINNED.start(), *PINNED.end()).into());
        let mut pins = Vec::new();
        // Whoever answers for another name must not open the host's loopback.
        let opened = self.domains().loopback_addresses_but_of(name);
        let may_be_pinned = |address: &IpAddr| may_stand_behind_a_name(*address) && !opened.contains(address);
        let addresses = addresses.iter().copied().filter(may_be_pinned);
        for address in addresses.take(MAXIMUM_PINS) {
            let family = match address {
                // Gateways stand for the host, and are asked by routed packets.
                _ if self.is_inside(address) && !self.is_gateway(address) => Family::Bridge,
                IpAddr::V4(_) => Family::Ipv4,
                IpAddr::V6(_) => Family::Ipv6,
            };
            // An interface without IPv6 has no sets for it.
            for own in own.iter().filter(|own| address.is_ipv4() || own.address6.is_some()) {
                let sets = rules.iter().map(|rule| set(own.address, *rule, address.is_ipv6()));
                pins.extend(sets.map(|set| (family, set, address)));
            }
        }
        let pinned = self.creator.run(move |plumbing| {
            pins.iter().try_for_each(|(family, set, address)| {
                plumbing.filters.pin(*family, set, &firewall::octets(*address), timeout)
            })
        });
        match pinned.await {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                tracing::warn!(%client, "cannot pin a name: {}", system_failure(&error));
                false
            }
            None => false,
        }
    }

    /// Whether an address is of one of our networks.
    pub(super) fn is_inside(&self, address: IpAddr) -> bool {
        self.state().segments.values().any(|segment| segment.contains(address))
    }

    fn is_gateway(&self, address: IpAddr) -> bool {
        self.state().segments.values().any(|segment| segment.is_gateway(address))
    }

    /// A name was asked for that the policy does not allow.
    pub(super) fn refused_name(&self, client: IpAddr, name: &str) {
        if !self.denials.has_room_for_name(client) {
            return;
        }
        if let Some(container_id) = self.holder_of(client) {
            let destination = name.chars().flat_map(char::escape_default).collect();
            self.denials.push(Denial { container_id, destination, protocol: "dns".to_owned() });
        }
    }

    /// A packet was refused.
    pub(crate) fn refused(&self, refused: &Refused) {
        if let Some(container_id) = self.holder_of(refused.source) {
            let destination = match refused.destination.port() {
                0 => refused.destination.ip().to_string(),
                _ => refused.destination.to_string(),
            };
            self.denials.push(Denial { container_id, destination, protocol: refused.protocol_name() });
        }
    }

    fn holder_of(&self, address: IpAddr) -> Option<String> {
        let state = self.state();
        state.segments.values().find_map(|segment| segment.holder(address).map(str::to_owned))
    }

    /// What was refused since the last time; waits for a while if that is nothing.
    pub(crate) async fn denials(&self) -> Vec<Denial> {
        let deadline = tokio::time::Instant::now() + DENIALS_LIMIT;
        loop {
            let denials = self.denials.take();
            if !denials.is_empty()
                || tokio::time::timeout_at(deadline, self.denials.news.notified()).await.is_err()
            {
                return denials;
            }
        }
    }
}
