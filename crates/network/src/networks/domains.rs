//! Domains: names by which the host finds containers, and containers what listens on the host's loopback.
//!
//! The host gets what the domains take, for as long as there are any: a server of names and routes to
//! our networks, both at its end of the uplink. Everything goes with that device.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use bulkhead_network_control::{Domain, Failure, FailureCode, NameServer};

use super::configuration::check_name;
use super::{Networks, failure, gone, system_failure};
use crate::dns::{self, Allowing, Found, Names, Permission, Server, host_resolver};
use crate::firewall;
use crate::subnet::Subnet;
use crate::uplink::Uplink;

/// Where names are answered: the second is for hosts on which somebody has port 53 of all addresses.
const SERVER_PORTS: [u16; 2] = [dns::PORT, 2053];
/// RFC 1035, section 2.3.4.
const MAXIMUM_NAME_BYTES: usize = 253;

/// All domains and what serves them.
#[derive(Debug, Default)]
pub(super) struct Domains {
    all: Vec<Domain>,
    server: Option<(SocketAddrV4, Server)>,
}

impl Domains {
    /// What a name means to containers: an address of the host, or a name below a domain.
    pub(super) fn resolve<'a>(&self, name: &'a str) -> Meaning<'a> {
        for domain in &self.all {
            match domain.localhost {
                Some(address) if domain.name == name => return Meaning::Host(address),
                Some(_) => {}
                None => {
                    let below = name.strip_suffix(domain.name.as_str());
                    if let Some(container) = below.and_then(|rest| rest.strip_suffix('.')) {
                        return Meaning::Container(container);
                    }
                }
            }
        }
        Meaning::Nothing
    }

    /// Addresses that lead to the host's loopback, but for that of this name.
    pub(super) fn loopback_addresses_but_of(&self, name: &str) -> Vec<IpAddr> {
        let own = match self.resolve(name) {
            Meaning::Host(address) => Some(address),
            _ => None,
        };
        let all = self.loopback_addresses().into_iter();
        all.filter(|address| Some(*address) != own).map(IpAddr::V4).collect()
    }

    /// Addresses that lead to the host's loopback.
    pub(super) fn loopback_addresses(&self) -> Vec<Ipv4Addr> {
        self.all.iter().filter_map(|domain| domain.localhost).collect()
    }

    /// Whether the host is to be led to our networks.
    pub(super) fn are_any(&self) -> bool {
        !self.all.is_empty()
    }
}

/// What a name means by our domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The host's loopback, by this address.
    Host(Ipv4Addr),
    /// Whoever has this name.
    Container(&'a str),
    /// No domain's.
    Nothing,
}

impl Networks {
    pub(super) fn domains(&self) -> MutexGuard<'_, Domains> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves these domains from now on, and no others.
    pub(crate) async fn set_domains(self: &Arc<Self>, all: Vec<Domain>) -> Result<NameServer, Failure> {
        let pair = self.uplink().pair().map(|uplink| (uplink.device().to_owned(), uplink.host_address()));
        let Some((device, host_address)) = pair else {
            return Err(failure(FailureCode::PermissionDenied, "only root's networks can have domains"));
        };
        let _one_at_a_time = self.changing.lock().await;
        for domain in &all {
            self.check_domain(domain)?;
        }
        let is_serving = self.domains().server.is_some();
        // What can fail comes first, and leaves all as it was.
        if !all.is_empty() && !is_serving {
            self.lead_host_to_all()?;
        }
        let new_server = match all.is_empty() || is_serving {
            true => None,
            false => match self.serve_host(host_address).await {
                Ok(server) => Some(server),
                Err(failure) => {
                    self.lead_host_to_none();
                    return Err(failure);
                }
            },
        };
        let redirected = self.redirect(all.iter().filter_map(|domain| domain.localhost).collect()).await;
        if let Err(failure) = redirected {
            if let Some((_, server)) = new_server {
                server.stop().await;
                self.lead_host_to_none();
            }
            return Err(failure);
        }
        let running = self.domains().server.take();
        let server = match (running, all.is_empty()) {
            (Some((_, server)), true) => {
                server.stop().await;
                None
            }
            (running, _) => running.or(new_server),
        };
        let address = server.as_ref().map(|(address, _)| *address);
        let names: Vec<String> = all.iter().map(|domain| domain.name.clone()).collect();
        *self.domains() = Domains { all, server };
        if names.is_empty() {
            self.lead_host_to_none();
        }
        let telling = self.host.spawn(async move { host_resolver::tell(&device, address, &names).await });
        let is_known_to_host = telling.await.unwrap_or(false);
        tracing::info!(?address, is_known_to_host, "domains are set");
        Ok(NameServer { address: address.map(SocketAddr::from), is_known_to_host })
    }

    fn check_domain(&self, domain: &Domain) -> Result<(), Failure> {
        check_domain_name(&domain.name)?;
        let Some(address) = domain.localhost else { return Ok(()) };
        let inside = self.state().segments.values().any(|one| one.subnet.offset(address).is_some());
        if inside || !is_redirectable(address) {
            return Err(failure(
                FailureCode::InvalidArgument,
                format!(
                    "{address} cannot stand for the host's loopback: take one that nobody uses, such as \
                     203.0.113.113"
                ),
            ));
        }
        Ok(())
    }

    /// Leads the host to a new network, if there are domains; whether that is so.
    pub(super) fn lead_host_to(&self, subnet: Subnet) -> Result<bool, Failure> {
        match self.uplink().pair() {
            Some(uplink) if self.domains().are_any() => lead(uplink, subnet).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Leads the host to all networks, or to none.
    fn lead_host_to_all(&self) -> Result<(), Failure> {
        for (name, subnet) in self.subnets() {
            let led = self.uplink().pair().map_or(Ok(()), |uplink| lead(uplink, subnet));
            if let Err(failure) = led {
                self.lead_host_to_none();
                return Err(failure);
            }
            if let Some(segment) = self.state().segments.get_mut(&name) {
                segment.is_led_to = true;
            }
        }
        Ok(())
    }

    fn lead_host_to_none(&self) {
        for (name, subnet) in self.subnets() {
            if let Some(segment) = self.state().segments.get_mut(&name) {
                segment.is_led_to = false;
            }
            let led_no_more = self.uplink().pair().map(|uplink| uplink.lead_no_more(subnet));
            if let Some(Err(error)) = led_no_more {
                tracing::warn!("a route to containers stays: {}", system_failure(&error));
            }
        }
    }

    fn subnets(&self) -> Vec<(String, Subnet)> {
        let state = self.state();
        state.segments.iter().map(|(name, segment)| (name.clone(), segment.subnet)).collect()
    }

    async fn redirect(&self, addresses: Vec<Ipv4Addr>) -> Result<(), Failure> {
        let change = self.uplink().pair().and_then(|uplink| {
            let before = uplink.redirects().to_vec();
            uplink.redirect(addresses).map(|change| (before, change))
        });
        let Some((before, (rules, switch))) = change else { return Ok(()) };
        let changing = self.host.spawn(async move {
            switch.turn().map_err(|error| system_failure(&error))?;
            // Others are served on this thread meanwhile.
            let loading =
                firewall::load("the host's rules", &rules).map_err(|error| system_failure(&error))?;
            loading.finished().await.map_err(|error| system_failure(&error))
        });
        let outcome = changing.await.map_err(|_| gone()).and_then(|outcome| outcome);
        if outcome.is_err()
            && let Some(uplink) = self.uplink().pair()
        {
            uplink.keep_redirects(before);
        }
        outcome
    }

    async fn serve_host(self: &Arc<Self>, host: Ipv4Addr) -> Result<(SocketAddrV4, Server), Failure> {
        let mut refusal = None;
        for port in SERVER_PORTS {
            let address = SocketAddrV4::new(host, port);
            let names = Box::new(HostNames { networks: Arc::downgrade(self) });
            // The socket belongs to the namespace of the thread that opens it.
            match self.host.spawn(async move { Server::start(address, names, None).await }).await {
                Ok(Ok(server)) => return Ok((address, server)),
                Ok(Err(error)) => refusal = Some(error),
                Err(_) => return Err(gone()),
            }
        }
        let reason = refusal.map(|error| format!(": {error}")).unwrap_or_default();
        Err(failure(FailureCode::System, format!("cannot serve the host's names on {host}{reason}")))
    }
}

fn lead(uplink: &mut Uplink, subnet: Subnet) -> Result<(), Failure> {
    uplink.lead_to(subnet).map_err(|error| match error.is_existing() {
        true => failure(
            FailureCode::Exists,
            format!(
                "the host has a route to {subnet} already: another installation has a domain and a network of \
                 these addresses. Give one of the networks another subnet"
            ),
        ),
        false => system_failure(&error),
    })
}

/// Becomes part of answers and of the host's resolver's settings.
fn check_domain_name(name: &str) -> Result<(), Failure> {
    let is_short = name.len() <= MAXIMUM_NAME_BYTES;
    let labels = name.split('.').all(|label| {
        check_name("domain", label).is_ok()
            && !label.contains('_')
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| !byte.is_ascii_uppercase())
    });
    if is_short && labels && name != "localhost" {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(failure(FailureCode::InvalidArgument, format!("'{}' is not a domain", shown.escape_debug())))
}

fn is_redirectable(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_link_local())
}

/// Names as the host sees them: those of all containers, below our domains.
struct HostNames {
    networks: Weak<Networks>,
}

impl Names for HostNames {
    fn find(&self, name: &str, _client: IpAddr) -> Vec<IpAddr> {
        let Some(networks) = self.networks.upgrade() else { return Vec::new() };
        let container = match networks.domains().resolve(name) {
            Meaning::Host(_) => return vec![Ipv4Addr::LOCALHOST.into()],
            Meaning::Container(container) => container,
            Meaning::Nothing => return Vec::new(),
        };
        let state = networks.state();
        let reachable = state.segments.values().filter(|segment| segment.is_led_to);
        let mut found = reachable.map(|segment| segment.find(container));
        let mut found = found.find(|found| !found.is_empty()).unwrap_or_default();
        // The host has no route to IPv6 networks.
        found.retain(IpAddr::is_ipv4);
        found
    }

    fn find_names(&self, _address: IpAddr, _client: IpAddr) -> Option<Vec<String>> {
        // The host asks for our domains alone.
        None
    }

    fn permission(&self, _name: &str, _client: IpAddr) -> Permission {
        Permission::Unlimited
    }

    fn may_reach(&self, _address: IpAddr, _client: IpAddr) -> bool {
        true
    }

    fn is_inside(&self, _address: IpAddr) -> bool {
        false
    }

    fn allow<'a>(&'a self, _name: &'a str, _client: IpAddr, _found: Found) -> Allowing<'a> {
        Box::pin(std::future::ready(false))
    }

    fn deny(&self, _name: &str, _client: IpAddr) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_names_and_addresses_that_nobody_needs() {
        for good in ["test", "a.b-c.internal", "host.container.internal"] {
            assert!(check_domain_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", "A", "a b", "-a", "a_b", "localhost", "~.", &"x.".repeat(200)] {
            assert!(check_domain_name(bad).is_err(), "{bad}");
        }
        assert!(is_redirectable([203, 0, 113, 113].into()));
        for bad in [[127, 0, 0, 1], [169, 254, 169, 254], [0, 0, 0, 0], [224, 0, 0, 1]] {
            assert!(!is_redirectable(bad.into()), "{bad:?}");
        }
    }

    #[test]
    fn names_below_a_domain_are_those_of_containers() {
        let domain = |name: &str, localhost: Option<Ipv4Addr>| Domain { name: name.to_owned(), localhost };
        let address = Ipv4Addr::new(203, 0, 113, 113);
        let all = vec![domain("test", None), domain("host.internal", Some(address))];
        let domains = Domains { all, server: None };
        assert_eq!(domains.resolve("web.test"), Meaning::Container("web"));
        assert_eq!(domains.resolve("host.internal"), Meaning::Host(address));
        for other in ["test", "webtest", "x.host.internal", "web"] {
            assert_eq!(domains.resolve(other), Meaning::Nothing, "{other}");
        }
    }
}
