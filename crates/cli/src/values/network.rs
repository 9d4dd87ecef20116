//! `--network name[,mac=…][,mtu=…][,ip=…][,ip6=…][,alias=…]…`, or in Docker's words `name=…[,mac-address=…]…`

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use bulkhead_api::container::{NetworkConfiguration, NetworkOptions};

use super::{InvalidValue, invalid};

/// Means no network at all; only alone.
pub(crate) const NONE: &str = "none";

/// The network that containers join when they name none.
pub(crate) const DEFAULT: &str = "default";

/// A wish for an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkAttachment {
    pub(crate) name: String,
    pub(crate) mac_address: Option<MacAddress>,
    pub(crate) mtu: Option<u32>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) aliases: Vec<String>,
}

/// Six octets, of a single station: `02:42:ac:11:00:02`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MacAddress(String);

impl NetworkAttachment {
    /// Without any wish.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mac_address: None,
            mtu: None,
            address: None,
            address6: None,
            aliases: Vec::new(),
        }
    }

    /// Its name in DNS is the container's, which the daemon knows.
    pub(crate) fn into_configuration(self) -> NetworkConfiguration {
        NetworkConfiguration {
            network: self.name,
            options: NetworkOptions {
                hostname: String::new(),
                mac_address: self.mac_address.map(|MacAddress(text)| text),
                mtu: self.mtu,
                ipv4_address: self.address.map(|address| address.to_string()),
                ipv6_address: self.address6.map(|address| address.to_string()),
                aliases: self.aliases,
            },
        }
    }
}

impl FromStr for NetworkAttachment {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let name = first.strip_prefix("name=").unwrap_or(first);
        if name.starts_with("container:") {
            return invalid(
                "the interfaces of a machine cannot be shared: let both join one network, where they find each \
                 other by name",
            );
        }
        if !is_name(name) {
            return invalid("a network's name has lower-case letters, digits, '.', '_' and '-'");
        }
        let mut attachment = Self::plain(name);
        for part in parts {
            match part.split_once('=') {
                Some(("mac" | "mac-address", value)) => attachment.mac_address = Some(value.parse()?),
                Some(("mtu", value)) => match value.parse::<u32>() {
                    Ok(mtu) if (1280..=65535).contains(&mtu) => attachment.mtu = Some(mtu),
                    _ => return invalid(format!("mtu '{value}' is not from 1280 to 65535")),
                },
                Some(("ip", value)) => match value.parse() {
                    Ok(address) => attachment.address = Some(address),
                    Err(_) => return invalid(format!("ip '{value}' is no IPv4 address")),
                },
                Some(("ip6", value)) => match value.parse() {
                    Ok(address) => attachment.address6 = Some(address),
                    Err(_) => return invalid(format!("ip6 '{value}' is no IPv6 address")),
                },
                Some(("alias", value)) if !value.is_empty() => attachment.aliases.push(value.to_owned()),
                _ => {
                    return invalid(format!(
                        "unknown network option '{part}': expected mac, mtu, ip, ip6 or alias"
                    ));
                }
            }
        }
        if name == NONE && attachment != Self::plain(NONE) {
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

impl FromStr for MacAddress {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let octets: Option<Vec<u8>> = text
            .split([':', '-'])
            .map(|part| {
                // from_str_radix alone would take a sign for a digit.
                let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
                plain.then(|| u8::from_str_radix(part, 16).ok()).flatten()
            })
            .collect();
        match octets.as_deref() {
            Some([first, _, _, _, _, _]) if first & 1 == 0 => {
                Ok(Self(text.to_ascii_lowercase().replace('-', ":")))
            }
            Some([_, _, _, _, _, _]) => invalid(format!("'{text}' is a group address")),
            _ => invalid(format!("'{text}' is no MAC address: expected XX:XX:XX:XX:XX:XX")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let docker: NetworkAttachment = "name=web,mac-address=02:42:ac:11:00:02".parse().unwrap();
        assert_eq!(docker, "web,mac=02:42:AC:11:00:02".parse().unwrap());
        let text = "web,mac=02-42-AC-11-00-02,mtu=9000,ip=10.0.0.7,alias=db,alias=cache";
        let options = text.parse::<NetworkAttachment>().unwrap().into_configuration().options;
        assert_eq!(options.mac_address.as_deref(), Some("02:42:ac:11:00:02"));
        assert_eq!((options.mtu, options.ipv4_address.as_deref()), (Some(9000), Some("10.0.0.7")));
        assert_eq!(options.aliases, ["db", "cache"]);
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
            "none,alias=a",
            "a,ip=10.0.0",
            "a,alias=",
        ] {
            assert!(text.parse::<NetworkAttachment>().is_err(), "{text:?}");
        }
    }
}
