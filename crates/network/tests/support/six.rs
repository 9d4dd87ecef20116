//! Hosts and networks with IPv6.

use std::net::Ipv6Addr;

use bulkhead_network_control::{LeaseRequest, NetworkConfiguration, Request};

use super::namespace::run_program;
use super::{Daemon, Host, plain};

/// Somebody outside.
pub(crate) const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The host's address on its way outside.
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);

pub(crate) fn network(name: &str, third: u8, subnet6: &str) -> NetworkConfiguration {
    NetworkConfiguration {
        name: name.to_owned(),
        ipv4_subnet: Some(format!("192.168.{third}.0/24")),
        ipv6_subnet: Some(subnet6.to_owned()),
        internal: false,
        options: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn blue() -> NetworkConfiguration {
    network("blue", 100, "fd00:100::/64")
}

pub(crate) fn create(host: &Host, daemon: &Daemon, configuration: NetworkConfiguration) {
    host.request(daemon, Request::CreateNetwork(configuration)).unwrap();
}

pub(crate) fn on(network: &str, id: &str) -> LeaseRequest {
    LeaseRequest { network: network.to_owned(), ..plain(id) }
}

/// A host whose way outside has IPv6.
pub(crate) fn host_with_ipv6(forwards: bool) -> Host {
    let host = Host::new();
    host.host.run(move || {
        run_program("ip", &["address", "add", &format!("{HOST6}/64"), "dev", "wan", "nodad"]);
        let value = if forwards { "1" } else { "0" };
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", value).unwrap();
    });
    host.outside.run(|| {
        run_program("ip", &["address", "add", &format!("{OUTSIDE6}/64"), "dev", "wan", "nodad"]);
    });
    host
}
