//! Which protocol a registry is spoken to by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A text that is no scheme.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{scheme}` is not a scheme: expected http, https or auto")]
pub struct SchemeError {
    /// What was given, escaped.
    pub scheme: String,
}

/// The user's choice of protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http` for `localhost`, loopback and private addresses and for the local DNS domain, else `https`.
    #[default]
    Auto,
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// Whether `registry` (a host with an optional port) is spoken to without TLS.
    #[must_use]
    pub fn is_plain_http(self, registry: &str, local_domain: Option<&str>) -> bool {
        match self {
            Self::Http => true,
            Self::Https => false,
            Self::Auto => {
                let host = host_of(registry);
                match host.parse::<IpAddr>() {
                    Ok(address) => is_local_address(address),
                    Err(_) => {
                        host == "localhost" || local_domain.is_some_and(|domain| is_in_domain(host, domain))
                    }
                }
            }
        }
    }
}

/// A registry's host without port and brackets.
pub(crate) fn host_of(registry: &str) -> &str {
    match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    }
}

fn is_in_domain(host: &str, domain: &str) -> bool {
    let domain = domain.trim_matches('.');
    !domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn is_local_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => {
            address.is_loopback()
                || is_unique_local(address)
                || address.to_ipv4_mapped().is_some_and(is_local_v4)
        }
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private()
}

/// fc00::/7, RFC 4193
fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        match text {
            "auto" => Ok(Self::Auto),
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(SchemeError { scheme: text.escape_default().to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_plain_only_for_local_hosts() {
        let cases = [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1:80", true),
            ("[fd00::1]", true),
            ("[2001:db8::1]:443", false),
            ("169.254.169.254", false),
            ("8.8.8.8", false),
            ("registry.test", true),
            ("a.registry.test:5000", true),
            ("registrytest", false),
            ("localhost.example", false),
            ("docker.io", false),
        ];
        for (registry, expected) in cases {
            assert_eq!(Scheme::Auto.is_plain_http(registry, Some("test")), expected, "{registry}");
        }
        assert!(Scheme::Http.is_plain_http("docker.io", None));
        assert!(!Scheme::Https.is_plain_http("localhost", None));
        assert!("ftp".parse::<Scheme>().is_err());
    }
}
