//! Values, checked against what their key expects.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use bulkhead_api::size::parse_bytes;
use toml::de::DeValue;

use crate::keys::Kind;

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
    /// Everything else.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(formatter),
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Size { text, .. } | Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// Checks a value of a file; the error says what is expected.
pub(crate) fn check(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    match kind {
        Kind::Count => count(value).map(Value::Count).ok_or_else(|| "a positive number".to_owned()),
        Kind::Flag => value.as_bool().map(Value::Flag).ok_or_else(|| "true or false".to_owned()),
        Kind::Size => size(value).ok_or_else(|| {
            "a size: a number of bytes, or one with suffix K, M, G, T or P in quotes".to_owned()
        }),
        Kind::Text => text(value, |text| !text.is_empty(), "a text in quotes"),
        Kind::Path => text(value, |text| Path::new(text).is_absolute(), "an absolute path in quotes"),
        Kind::Ipv4Subnet => text(value, |text| is_subnet(text, 32), "a subnet such as \"192.168.64.0/24\""),
        Kind::Ipv6Subnet => text(value, |text| is_subnet(text, 128), "a subnet such as \"fd00::/64\""),
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

fn size(value: &DeValue<'_>) -> Option<Value> {
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => integer(value)?.to_string(),
    };
    let bytes = parse_bytes(&text).filter(|bytes| *bytes > 0)?;
    Some(Value::Size { text, bytes })
}

fn is_subnet(text: &str, address_bits: u8) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>()) else { return false };
    length <= address_bits && address.is_ipv4() == (address_bits == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_have_an_address_and_a_length() {
        assert!(is_subnet("10.0.0.0/8", 32) && is_subnet("fd00::/64", 128));
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/64", "10.0.0/8", "10.0.0.0/", "10.0.0.0/8/8"] {
            assert!(!is_subnet(text, 32), "{text}");
        }
    }
}
