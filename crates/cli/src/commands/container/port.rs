//! `port`

use std::str::FromStr;

use bulkhead_api::container::PublishedPort;
use bulkhead_api::error::ErrorCode;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::services::Services;
use crate::values::{InvalidValue, invalid};

/// Arguments of `port`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PortArguments {
    /// Container whose published ports are shown
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,

    /// Show where this port of the container is published
    #[arg(value_name = "PORT[/tcp|udp]")]
    port: Option<ContainerPort>,
}

/// `80` or `80/udp`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ContainerPort {
    number: u16,
    protocol: String,
}

impl FromStr for ContainerPort {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match (number.parse(), protocol) {
            (Ok(number), "tcp" | "udp") if number > 0 => Ok(Self { number, protocol: protocol.to_owned() }),
            _ => invalid("expected a port such as 80 or 53/udp"),
        }
    }
}

pub(crate) fn run(arguments: &PortArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    let container = block_on(services.call(async |client| client.container(id).await))?;
    // What a running container has: another may have the ports of one that does not run.
    let published = &container.status.published_ports;
    let text: String = match &arguments.port {
        None => all(published)
            .map(|(port, host)| format!("{}/{} -> {host}\n", port.number, port.protocol))
            .collect(),
        Some(wanted) => {
            all(published).filter(|(port, _)| port == wanted).map(|(_, host)| format!("{host}\n")).collect()
        }
    };
    if let (Some(port), true) = (&arguments.port, text.is_empty()) {
        return Err(Failure::refused(
            ErrorCode::NotFound,
            format!("container '{id}' does not publish port {}/{}", port.number, port.protocol),
        ));
    }
    output::print(&text)?;
    Ok(ExitStatus::Success)
}

/// Each port, ranges spread out, with its address on the host.
fn all(published: &[PublishedPort]) -> impl Iterator<Item = (ContainerPort, String)> + '_ {
    // Any free port will do for those without one, once the container starts.
    published.iter().filter(|range| range.host_port != 0).flat_map(|range| {
        (0..range.count.max(1)).map(|offset| {
            let number = range.container_port.saturating_add(offset);
            let host_port = range.host_port.saturating_add(offset);
            let address = &range.host_address;
            let host = match address.contains(':') && !address.starts_with('[') {
                true => format!("[{address}]:{host_port}"),
                false => format!("{address}:{host_port}"),
            };
            (ContainerPort { number, protocol: range.proto.clone() }, host)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_spread_out() {
        let port = |address: &str, count| PublishedPort {
            host_address: address.to_owned(),
            host_port: 8080,
            container_port: 80,
            proto: "tcp".to_owned(),
            count,
        };
        let chosen_later = PublishedPort { host_port: 0, ..port("0.0.0.0", 1) };
        let shown: Vec<String> = all(&[port("0.0.0.0", 2), port("::", 1), chosen_later])
            .map(|(port, host)| format!("{} {host}", port.number))
            .collect();
        assert_eq!(shown, ["80 0.0.0.0:8080", "81 0.0.0.0:8081", "80 [::]:8080"]);
        for text in ["0", "80/sctp", "x", "65536", ""] {
            assert!(text.parse::<ContainerPort>().is_err(), "{text}");
        }
    }
}
