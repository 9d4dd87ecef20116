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
        let all = self.all.iter().filter_map(|domain| domain.localhost);
        all.filter(|address| Some(*address) != own).map(IpAddr::V4).collect()
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
        for domain in &all {
            self.check_domain(domain)?;
        }
        let _one_at_a_time = self.changing.lock().await;
        let is_serving = self.domains().server.is_some();
        // What can fail comes first, and leaves all as it was.
        let new_server = match all.is_empty() || is_serving {
            true => None,
            false => Some(self.serve_host(host_address).await?),
        };
        let redirected = self.redirect(all.iter().filter_map(|domain| domain.localhost).collect()).await;
        if let Err(failure) = redirected {
            if let Some((_, server)) = new_server {
                server.stop().await;
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
        let subnets: Vec<Subnet> = self.state().segments.values().map(|segment| segment.subnet).collect();
        for subnet in subnets {
            self.lead_host_to(subnet);
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

    /// The host's way to a network, there as long as there are domains.
    pub(super) fn lead_host_to(&self, subnet: Subnet) {
        let is_wanted = self.domains().are_any();
        let mut uplink = self.uplink();
        let Some(uplink) = uplink.pair() else { return };
        let led = if is_wanted { uplink.lead_to(subnet) } else { uplink.lead_no_more(subnet) };
        // Another installation may lead the host to a network with the same addresses.
        if let Err(error) = led {
            tracing::warn!("the host cannot reach containers: {}", system_failure(&error));
        }
    }

    async fn redirect(&self, addresses: Vec<Ipv4Addr>) -> Result<(), Failure> {
        let change = self.uplink().pair().and_then(|uplink| {
            let before = uplink.redirects().to_vec();
            uplink.redirect(addresses).map(|change| (before, change))
        });
        let Some((before, (rules, switch))) = change else { return Ok(()) };
        let changing = self.host.spawn(async move {
            switch.turn().map_err(|error| system_failure(&error))?;
            let loaded = firewall::load("the host's rules", &rules).and_then(|nft| nft.finish());
            loaded.map_err(|error| system_failure(&error))
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
        let mut found = state.segments.values().map(|segment| segment.find(container));
        let mut found = found.find(|found| !found.is_empty()).unwrap_or_default();
        // The host has no route to IPv6 networks.
        found.retain(IpAddr::is_ipv4);
        found
    }

    fn permission(&self, _name: &str, _client: IpAddr) -> Permission {
        Permission::Unlimited
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
