//! Published ports: what a request may ask for, and the two shapes that they have.

use std::net::IpAddr;

use bulkhead_api::container::PublishedPort;
use bulkhead_api::error::ApiError;
use bulkhead_network_control::{PortRange, Protocol};

use crate::error::invalid;

/// Most ranges that one container asks for.
const MAXIMUM_RANGES: usize = 64;

/// Checks ports that are asked for, for a container that joins a network or not.
pub(crate) fn validate(ports: &[PublishedPort], joins_network: bool) -> Result<(), ApiError> {
    if !ports.is_empty() && !joins_network {
        return Err(invalid("ports cannot be published: the container joins no network"));
    }
    if ports.len() > MAXIMUM_RANGES {
        return Err(invalid(format!("at most {MAXIMUM_RANGES} ports or ranges can be published")));
    }
    expect_disjoint(ports)
}

/// Checks that each port is a port, and published once.
pub(crate) fn expect_disjoint(ports: &[PublishedPort]) -> Result<(), ApiError> {
    let ranges = ports.iter().map(range).collect::<Result<Vec<_>, _>>()?;
    for (index, range) in ranges.iter().enumerate() {
        if ranges[..index].iter().any(|earlier| overlap(*earlier, *range)) {
            return Err(invalid(format!(
                "host port {}/{} is published twice",
                range.host_port,
                range.protocol.as_str()
            )));
        }
    }
    Ok(())
}

/// As container-network takes it.
pub(crate) fn range(port: &PublishedPort) -> Result<PortRange, ApiError> {
    let host_address: IpAddr = port.host_address.parse().map_err(|_| {
        let shown: String = port.host_address.chars().take(64).flat_map(char::escape_default).collect();
        invalid(format!("'{shown}' is not an address of this host to publish ports on"))
    })?;
    let protocol = match port.proto.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(invalid("the protocol of a published port must be tcp or udp")),
    };
    let fits = |first: u16| port.count > 0 && first.checked_add(port.count - 1).is_some();
    if port.container_port == 0 || !fits(port.container_port) || !fits(port.host_port) {
        return Err(invalid(format!(
            "published ports must be from 1 to 65535: {} from {}:{}",
            port.count, port.host_port, port.container_port
        )));
    }
    Ok(PortRange {
        host_address,
        host_port: port.host_port,
        container_port: port.container_port,
        protocol,
        count: port.count,
    })
}

/// As `inspect` shows it.
pub(crate) fn shown(range: PortRange) -> PublishedPort {
    PublishedPort {
        host_address: range.host_address.to_string(),
        host_port: range.host_port,
        container_port: range.container_port,
        proto: range.protocol.as_str().to_owned(),
        count: range.count,
    }
}

/// Whether both would bind the same port; 0 stands for one that is free.
fn overlap(one: PortRange, other: PortRange) -> bool {
    let same_address = one.host_address == other.host_address
        || one.host_address.is_ipv4() == other.host_address.is_ipv4()
            && (one.host_address.is_unspecified() || other.host_address.is_unspecified());
    let last = |range: PortRange| range.host_port.saturating_add(range.count - 1);
    one.host_port != 0
        && other.host_port != 0
        && one.protocol == other.protocol
        && same_address
        && one.host_port <= last(other)
        && other.host_port <= last(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_address: &str, host_port: u16, container_port: u16, count: u16) -> PublishedPort {
        PublishedPort {
            host_address: host_address.to_owned(),
            host_port,
            container_port,
            proto: "tcp".to_owned(),
            count,
        }
    }

    #[test]
    fn f71_ports_that_nobody_can_bind_are_refused() {
        for good in [port("0.0.0.0", 0, 80, 1), port("::1", 1, 1, 65535), port("127.0.0.1", 65535, 65535, 1)]
        {
            assert!(validate(std::slice::from_ref(&good), true).is_ok(), "{good:?}");
            assert!(validate(&[good], false).is_err());
        }
        for bad in [
            port("localhost", 80, 80, 1),
            port("0.0.0.0", 80, 0, 1),
            port("0.0.0.0", 80, 80, 0),
            port("0.0.0.0", 65535, 80, 2),
            port("0.0.0.0", 80, 65535, 2),
            PublishedPort { proto: "sctp".to_owned(), ..port("0.0.0.0", 80, 80, 1) },
        ] {
            assert!(validate(std::slice::from_ref(&bad), true).is_err(), "{bad:?}");
        }
        let twice = [port("0.0.0.0", 80, 80, 10), port("127.0.0.1", 89, 1, 1)];
        assert!(validate(&twice, true).is_err());
        let families = [port("0.0.0.0", 80, 80, 1), port("::", 80, 80, 1), port("::", 0, 80, 1)];
        assert!(validate(&families, true).is_ok());
    }
}
