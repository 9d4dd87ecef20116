//! Values, checked against what their key expects.

use std::fmt;
use std::fs::Metadata;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bulkhead_api::size::parse_bytes;
use bulkhead_oci::Reference;
use toml::de::DeValue;

use crate::keys::Kind;
use crate::registry_hosts::{self, RegistryHost};

/// Larger networks serve nobody, smaller have no room for a gateway.
const SUBNET_LENGTHS: std::ops::RangeInclusive<u32> = 8..=29;
/// Containers' addresses take the last 64 bits.
const IPV6_SUBNET_LENGTHS: std::ops::RangeInclusive<u32> = 32..=64;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number of things.
    Count(u32),
    /// A number of bytes, as it was written.
    Size {
        /// `512m`
        text: String,
        /// What it means.
        bytes: u64,
    },
    /// true or false
    Flag(bool),
    /// How single registries are spoken to.
    RegistryHosts(Vec<RegistryHost>),
    /// Everything else.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(formatter),
            Self::Flag(flag) => flag.fmt(formatter),
            Self::RegistryHosts(hosts) => {
                let names: Vec<&str> = hosts.iter().map(|host| &*host.name).collect();
                formatter.write_str(&names.join(" "))
            }
            Self::Size { text, .. } | Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// Checks a value of a file; the error says what is expected.
pub(crate) fn check(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    match kind {
        Kind::Count => count(value).map(Value::Count).ok_or_else(|| "a positive number".to_owned()),
        Kind::Flag => value.as_bool().map(Value::Flag).ok_or_else(|| "true or false".to_owned()),
        Kind::Size { minimum_bytes } => size(value, minimum_bytes).ok_or_else(|| {
            let least = match minimum_bytes >> 20 {
                0 => String::new(),
                mebibytes => format!(" of at least {mebibytes} MiB"),
            };
            format!("a size{least}: a number of bytes, or one with suffix K, M, G, T or P in quotes")
        }),
        Kind::Domain => text(value, is_domain, "the name of a domain in quotes, such as \"test\""),
        Kind::RegistryHost => text(
            value,
            registry_hosts::is_host,
            "HOST or HOST:PORT of a registry in quotes, without https://",
        ),
        Kind::Text => text(value, |text| !text.is_empty(), "a text in quotes"),
        Kind::Path => text(value, |text| Path::new(text).is_absolute(), "an absolute path in quotes"),
        Kind::Program => {
            text(value, is_program, "the absolute path of a file that can be executed, in quotes")
        }
        Kind::Image => text(value, is_image, "the name of an image in quotes"),
        Kind::Ipv4Subnet => text(
            value,
            is_subnet,
            "a private subnet such as \"192.168.64.0/24\", between /8 and /29, with no bits beyond its length",
        ),
        Kind::Ipv6Subnet => text(
            value,
            is_ipv6_subnet,
            "a private subnet such as \"fd00:100::/64\", between /32 and /64, with no bits beyond its length",
        ),
        Kind::RegistryHosts => registry_hosts::check(value).map(Value::RegistryHosts),
        Kind::OneOf(words) => {
            text(value, |text| words.contains(&text), &format!("one of {}", words.join(", ")))
        }
    }
}

fn text(value: &DeValue<'_>, is_valid: impl Fn(&str) -> bool, expected: &str) -> Result<Value, String> {
    match value.as_str() {
        Some(text) if is_valid(text) && !text.chars().any(char::is_control) => {
            Ok(Value::Text(text.to_owned()))
        }
        _ => Err(expected.to_owned()),
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn count(value: &DeValue<'_>) -> Option<u32> {
    u32::try_from(integer(value)?).ok().filter(|count| *count > 0)
}

fn size(value: &DeValue<'_>, minimum_bytes: u64) -> Option<Value> {
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => integer(value)?.to_string(),
    };
    let bytes = parse_bytes(&text).filter(|bytes| *bytes >= minimum_bytes)?;
    Some(Value::Size { text, bytes })
}

/// A file is to be told of its mistake with the line, and not each container that does not start.
fn is_program(text: &str) -> bool {
    let path = Path::new(text);
    let is_executable = |metadata: Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    path.is_absolute() && path.metadata().is_ok_and(is_executable)
}

/// By name, or by all digits of its id, which no name is.
fn is_image(text: &str) -> bool {
    let is_id = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id || text.parse::<Reference>().is_ok()
}

/// Labels of RFC 1123, section 2.1, and the underscore that resolvers do not mind.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// What container-network takes; a file is to be told of its mistake with the line.
fn is_subnet(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
        return false;
    };
    let [a, b, ..] = address.octets();
    let usable = address.is_private()
        // RFC 6598, RFC 5737, RFC 2544.
        || (a == 100 && b & 0xc0 == 64)
        || address.is_documentation()
        || (a == 198 && b & 0xfe == 18);
    SUBNET_LENGTHS.contains(&length) && usable && address.to_bits() & (u32::MAX >> length) == 0
}

/// As [`is_subnet`].
fn is_ipv6_subnet(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<Ipv6Addr>(), length.parse::<u32>()) else {
        return false;
    };
    // RFC 4193, RFC 3849.
    let usable = address.is_unique_local() || address.segments()[..2] == [0x2001, 0xdb8];
    IPV6_SUBNET_LENGTHS.contains(&length) && usable && address.to_bits() & (u128::MAX >> length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_files_that_can_be_executed() {
        assert!(is_program("/bin/sh"));
        for text in ["", "sh", "/etc", "/etc/passwd", "/no/such/file", "/dev/null"] {
            assert!(!is_program(text), "{text}");
        }
    }

    #[test]
    fn images_are_named_as_everywhere() {
        let id = "0123456789abcdef".repeat(4);
        for text in ["init:1", "registry.example:5000/a/b", "0123456789ab", &id, &format!("sha256:{id}")] {
            assert!(is_image(text), "{text}");
        }
        for text in ["", "x y", "Init", "init:", "init@sha256:0", "https://registry.example/init"] {
            assert!(!is_image(text), "{text}");
        }
    }

    #[test]
    fn domains_are_names() {
        for text in ["test", "a.b-c.internal", "My_Home.example"] {
            assert!(is_domain(text), "{text}");
        }
        for text in ["", ".", "a.", "a b", "-a", "a/b", "a\nb", &"x.".repeat(200), &"x".repeat(64)] {
            assert!(!is_domain(text), "{text}");
        }
    }

    #[test]
    fn subnets_are_those_that_networks_can_have() {
        for text in ["10.0.0.0/8", "192.168.64.0/24", "100.64.0.0/16", "192.0.2.0/24", "198.18.0.0/15"] {
            assert!(is_subnet(text), "{text}");
        }
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "fd00::/64",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            "8.8.8.0/24",
            "192.168.64.0/30",
            "0.0.0.0/0",
            "169.254.0.0/16",
            "192.168.64.1/24",
        ] {
            assert!(!is_subnet(text), "{text}");
        }
    }

    #[test]
    fn ipv6_subnets_are_those_that_networks_can_have() {
        for text in ["fd00::/64", "fc00:1::/32", "2001:db8:1::/48"] {
            assert!(is_ipv6_subnet(text), "{text}");
        }
        for text in ["fd00::", "fd00::/65", "fd00::/31", "fd00::1/64", "2600::/64", "fe80::/64", "10.0.0.0/8"]
        {
            assert!(!is_ipv6_subnet(text), "{text}");
        }
    }
}
