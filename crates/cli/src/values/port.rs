//! `--publish [[ip:]host[-host]:]container[-container][/protocol]`, `--expose port[-port][/protocol]`

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use bulkhead_api::container::PublishedPort;

use super::{InvalidValue, invalid};

/// Most `--publish` flags of one container.
pub(crate) const MAXIMUM_COUNT: usize = 64;

/// In place of a host port: one that is free when the container starts.
const ANY_FREE: u16 = 0;

/// A port or range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishPort {
    address: IpAddr,
    host: u16,
    container: u16,
    protocol: &'static str,
    count: u16,
}

impl PublishPort {
    pub(crate) fn into_published(self) -> PublishedPort {
        PublishedPort {
            host_address: self.address.to_string(),
            host_port: self.host,
            container_port: self.container,
            proto: self.protocol.to_owned(),
            count: self.count,
        }
    }

    /// Whether both would bind the same host port. Each family has ports of its own.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let any = |address: IpAddr| address.is_unspecified();
        let same_address = self.address == other.address
            || self.address.is_ipv4() == other.address.is_ipv4() && (any(self.address) || any(other.address));
        let last = |port: &Self| u32::from(port.host) + u32::from(port.count) - 1;
        self.host != ANY_FREE
            && other.host != ANY_FREE
            && self.protocol == other.protocol
            && same_address
            && u32::from(self.host) <= last(other)
            && u32::from(other.host) <= last(self)
    }
}

impl FromStr for PublishPort {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (ports, protocol) = split_protocol(text)?;
        let (rest, container) = ports.rsplit_once(':').unwrap_or(("", ports));
        let (address, host) = match rest.rsplit_once(':') {
            None => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), rest),
            Some((address, host)) => (parse_address(address)?, host),
        };
        let (container, count) = parse_range(container)?;
        let host = match host {
            "" | "0" => ANY_FREE,
            range => {
                let (first, host_count) = parse_range(range)?;
                if host_count != count {
                    return invalid("both ranges must be equally long");
                }
                first
            }
        };
        Ok(Self { address, host, container, protocol, count })
    }
}

/// A port or range that a container listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExposePort {
    first: u16,
    count: u16,
    protocol: &'static str,
}

impl FromStr for ExposePort {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (ports, protocol) = split_protocol(text)?;
        let (first, count) = parse_range(ports)?;
        Ok(Self { first, count, protocol })
    }
}

impl fmt::Display for ExposePort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, count, protocol } = self;
        match count {
            1 => write!(formatter, "{first}/{protocol}"),
            _ => write!(formatter, "{first}-{}/{protocol}", first + (count - 1)),
        }
    }
}

fn split_protocol(text: &str) -> Result<(&str, &'static str), InvalidValue> {
    match text.rsplit_once('/') {
        None => Ok((text, "tcp")),
        Some((ports, word)) if word.eq_ignore_ascii_case("tcp") => Ok((ports, "tcp")),
        Some((ports, word)) if word.eq_ignore_ascii_case("udp") => Ok((ports, "udp")),
        Some((_, word)) => invalid(format!("unknown protocol '{word}': expected tcp or udp")),
    }
}

fn parse_address(text: &str) -> Result<IpAddr, InvalidValue> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let parsed = match bracketed {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None => text.parse().map(IpAddr::V4).ok(),
    };
    parsed.map_or_else(|| invalid(format!("'{text}' is no address: expected IPv4 or [IPv6]")), Ok)
}

fn parse_range(text: &str) -> Result<(u16, u16), InvalidValue> {
    // Neither a sign nor zeros before it: the services know one name of a port.
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if text.starts_with(|digit| matches!(digit, '1'..='9')) => Ok(port),
        _ => invalid(format!("'{text}' is no port from 1 to 65535")),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    match last.checked_sub(first).and_then(|length| length.checked_add(1)) {
        Some(count) => Ok((first, count)),
        None => invalid(format!("the range '{text}' runs backwards")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let show = |text: &str| {
            text.parse::<PublishPort>().ok().map(|port| {
                format!("{} {} {} {} {}", port.address, port.host, port.container, port.protocol, port.count)
            })
        };
        for (text, expected) in [
            ("8080:80", Some("0.0.0.0 8080 80 tcp 1")),
            ("127.0.0.1:8080:80/udp", Some("127.0.0.1 8080 80 udp 1")),
            ("[::1]:8080:80/TCP", Some("::1 8080 80 tcp 1")),
            ("8000-8009:80-89", Some("0.0.0.0 8000 80 tcp 10")),
            ("1-65535:1-65535", Some("0.0.0.0 1 1 tcp 65535")),
            ("80", Some("0.0.0.0 0 80 tcp 1")),
            ("0:80", Some("0.0.0.0 0 80 tcp 1")),
            ("127.0.0.1::53/udp", Some("127.0.0.1 0 53 udp 1")),
            ("[::]:0:80-81", Some(":: 0 80 tcp 2")),
            ("80:", None),
            ("80:0", None),
            ("", None),
            ("65536:80", None),
            ("8000-8009:80", None),
            ("9-8:9-8", None),
            ("::1:8080:80", None),
            ("host:1:1", None),
            ("1:1/sctp", None),
        ] {
            assert_eq!(show(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn exposed_ports() {
        let show = |text: &str| text.parse::<ExposePort>().ok().map(|port| port.to_string());
        for (text, expected) in [
            ("80", Some("80/tcp")),
            ("53/UDP", Some("53/udp")),
            ("8000-8010", Some("8000-8010/tcp")),
            ("1-65535/udp", Some("1-65535/udp")),
            ("", None),
            ("0", None),
            ("+80", None),
            ("080", None),
            ("80/sctp", None),
            ("9-8", None),
            ("8080:80", None),
        ] {
            assert_eq!(show(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn overlaps() {
        let port = |text: &str| text.parse::<PublishPort>().unwrap();
        assert!(port("80:80").overlaps(&port("127.0.0.1:80:81")));
        assert!(port("80-90:80-90").overlaps(&port("90:1")));
        assert!(!port("80:80").overlaps(&port("80:80/udp")));
        assert!(!port("127.0.0.1:80:80").overlaps(&port("127.0.0.2:80:80")));
        assert!(!port("80-89:80-89").overlaps(&port("90:1")));
        assert!(!port("80:80").overlaps(&port("[::]:80:80")));
        assert!(!port("80").overlaps(&port("81")));
    }
}
