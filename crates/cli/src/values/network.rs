//! `--network name[,mac=…][,mtu=…]`

use std::str::FromStr;

use bulkhead_api::container::{NetworkConfiguration, NetworkOptions};

use super::{InvalidValue, invalid};

/// Means no network at all; only alone.
pub(crate) const NONE: &str = "none";

/// A wish for an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkAttachment {
    pub(crate) name: String,
    mac_address: Option<String>,
    mtu: Option<u32>,
}

impl NetworkAttachment {
    /// With the container's name in DNS; empty lets the daemon choose.
    pub(crate) fn into_configuration(self, hostname: &str) -> NetworkConfiguration {
        NetworkConfiguration {
            network: self.name,
            options: NetworkOptions {
                hostname: hostname.to_owned(),
                mac_address: self.mac_address,
                mtu: self.mtu,
            },
        }
    }
}

impl FromStr for NetworkAttachment {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        if !is_name(name) {
            return invalid("a network's name has lower-case letters, digits, '.', '_' and '-'");
        }
        let mut attachment = Self { name: name.to_owned(), mac_address: None, mtu: None };
        for part in parts {
            match part.split_once('=') {
                Some(("mac", value)) => attachment.mac_address = Some(parse_mac(value)?),
                Some(("mtu", value)) => match value.parse::<u32>() {
                    Ok(mtu) if (1280..=65535).contains(&mtu) => attachment.mtu = Some(mtu),
                    _ => return invalid(format!("mtu '{value}' is not from 1280 to 65535")),
                },
                _ => return invalid(format!("unknown network option '{part}': expected mac or mtu")),
            }
        }
        if name == NONE && (attachment.mac_address.is_some() || attachment.mtu.is_some()) {
            return invalid("'none' has no options");
        }
        Ok(attachment)
    }
}

/// `^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$`
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && plain(bytes[0])
        && plain(bytes[bytes.len() - 1])
        && bytes.iter().all(|byte| plain(*byte) || b"._-".contains(byte))
}

/// Six octets, of a single station.
fn parse_mac(text: &str) -> Result<String, InvalidValue> {
    let octets: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|part| {
            // from_str_radix alone would take a sign for a digit.
            let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u8::from_str_radix(part, 16).ok()).flatten()
        })
        .collect();
    match octets.as_deref() {
        Some([first, _, _, _, _, _]) if first & 1 == 0 => Ok(text.to_ascii_lowercase().replace('-', ":")),
        Some([_, _, _, _, _, _]) => invalid(format!("'{text}' is a group address")),
        _ => invalid(format!("'{text}' is no MAC address: expected XX:XX:XX:XX:XX:XX")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let parsed: NetworkAttachment = "web,mac=02-42-AC-11-00-02,mtu=9000".parse().unwrap();
        let options = parsed.into_configuration("host").options;
        assert_eq!(options.mac_address.as_deref(), Some("02:42:ac:11:00:02"));
        assert_eq!((options.mtu, options.hostname.as_str()), (Some(9000), "host"));
        for text in [
            "",
            "Web",
            "-a",
            "a-",
            "a,mtu=1279",
            "a,mtu=65536",
            "a,mac=02:42",
            "a,mac=01:00:00:00:00:01",
            "a,mac=+2:42:ac:11:00:02",
            "a,colour=red",
            "none,mtu=1500",
        ] {
            assert!(text.parse::<NetworkAttachment>().is_err(), "{text:?}");
        }
    }
}
