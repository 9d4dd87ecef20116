//! Ports of the host that lead to port 7000 of a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bulkhead_network_control::{ClientError, PortRange, Protocol, PublishRequest, Reply, Request};

use super::{Daemon, Host};

/// All addresses of the host.
pub(crate) const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(crate) const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

pub(crate) fn port(host_address: IpAddr, host_port: u16, protocol: Protocol) -> PortRange {
    PortRange { host_address, host_port, container_port: 7000, protocol, count: 1 }
}

pub(crate) fn publish(
    host: &Host,
    daemon: &Daemon,
    id: &str,
    ports: &[PortRange],
) -> Result<Vec<PortRange>, ClientError> {
    publish_on("default", host, daemon, id, ports)
}

pub(crate) fn publish_on(
    network: &str,
    host: &Host,
    daemon: &Daemon,
    id: &str,
    ports: &[PortRange],
) -> Result<Vec<PortRange>, ClientError> {
    let request = Request::Publish(PublishRequest {
        container_id: id.to_owned(),
        network: network.to_owned(),
        ports: ports.to_vec(),
    });
    match host.request(daemon, request)?.0 {
        Reply::Published(ports) => Ok(ports),
        reply => panic!("{reply:?}"),
    }
}
