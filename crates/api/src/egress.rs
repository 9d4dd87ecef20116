//! What a container that one does not trust may begin connections to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

const MAXIMUM_NAME_BYTES: usize = 253;

/// Everything that is not allowed is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressPolicy {
    /// Any of these; none of them: nothing.
    pub allow: Vec<EgressRule>,
}

/// `example.org:443`, `*.example.org`, `10.1.0.0/16:8000-8100`, `fd00::/8`, `[fd00::1]:443`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EgressRule {
    /// Where.
    pub target: EgressTarget,
    /// First and last TCP and UDP port; absent: every protocol.
    pub ports: Option<(u16, u16)>,
}

/// Where connections may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressTarget {
    /// Address and prefix length.
    Subnet(IpAddr, u8),
    /// In lower case; `*.` in front stands for all names below.
    Name(String),
}

/// The text is no destination.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{0}' is no destination: expected a name, *.name, address or subnet, and perhaps :PORT or :FIRST-LAST, \
     behind [IPV6] in brackets"
)]
pub struct InvalidEgressRule(String);

impl FromStr for EgressRule {
    type Err = InvalidEgressRule;

    fn from_str(text: &str) -> Result<Self, InvalidEgressRule> {
        parse(text)
            .ok_or_else(|| InvalidEgressRule(text.chars().take(80).flat_map(char::escape_default).collect()))
    }
}

fn parse(text: &str) -> Option<EgressRule> {
    if let Some((target, ports)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let ports = match ports.strip_prefix(':') {
            Some(ports) => Some(parse_ports(ports)?),
            None if ports.is_empty() => None,
            None => return None,
        };
        return Some(EgressRule { target: parse_ipv6(target)?, ports });
    }
    if let Some(target) = parse_ipv6(text) {
        return Some(EgressRule { target, ports: None });
    }
    let (target, ports) = match text.split_once(':') {
        Some((target, ports)) => (target, Some(parse_ports(ports)?)),
        None => (text, None),
    };
    let (address, length) = match target.split_once('/') {
        Some((address, length)) => (address, length.parse().ok().filter(|length| *length <= 32).map(Some)?),
        None => (target, None),
    };
    let target = match (address.parse::<Ipv4Addr>(), length) {
        (Ok(address), length) => EgressTarget::Subnet(address.into(), length.unwrap_or(32)),
        (Err(_), None) if is_pattern(target) => EgressTarget::Name(target.to_ascii_lowercase()),
        _ => return None,
    };
    Some(EgressRule { target, ports })
}

fn parse_ipv6(text: &str) -> Option<EgressTarget> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse().ok().filter(|length| *length <= 128)?),
        None => (text, 128),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(EgressTarget::Subnet(address.into(), length))
}

fn parse_ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

fn is_pattern(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= MAXIMUM_NAME_BYTES
        && plain.split('.').all(is_label)
        // Rather a mistyped address than a name.
        && !plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

impl fmt::Display for EgressRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            EgressTarget::Subnet(address, length) => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                let length = if *length == whole { String::new() } else { format!("/{length}") };
                match self.ports {
                    Some(_) if address.is_ipv6() => write!(formatter, "[{address}{length}]")?,
                    _ => write!(formatter, "{address}{length}")?,
                }
            }
            EgressTarget::Name(name) => formatter.write_str(name)?,
        }
        match self.ports {
            None => Ok(()),
            Some((first, last)) if first == last => write!(formatter, ":{first}"),
            Some((first, last)) => write!(formatter, ":{first}-{last}"),
        }
    }
}

impl TryFrom<String> for EgressRule {
    type Error = InvalidEgressRule;

    fn try_from(text: String) -> Result<Self, InvalidEgressRule> {
        text.parse()
    }
}

impl From<EgressRule> for String {
    fn from(rule: EgressRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_and_shown() {
        for text in [
            "example.org",
            "*.example.org:443",
            "10.1.0.0/16",
            "10.1.2.3:1-65535",
            "db:5432",
            "0.0.0.0/0:443",
            "fd00::1",
            "fd00::/8",
            "[fd00::/8]:443",
            "[::1]:1-2",
        ] {
            assert_eq!(text.parse::<EgressRule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "*",
            "*.",
            "a..b",
            "1.2.3",
            "10.0.0.0/33",
            "x/8",
            "a:0",
            "a:2-1",
            "a:70000",
            "a:1:2",
            "fd00::/129",
            "[fd00::1",
            "[fd00::1]443",
            "[10.0.0.1]:80",
            "fd00:::",
            "a b",
            "https://example.org",
            "a.*.b",
        ] {
            assert!(text.parse::<EgressRule>().is_err(), "{text}");
        }
    }
}
