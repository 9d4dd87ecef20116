//! Checks what is asked for.

use bulkhead_network_control::{Failure, FailureCode, NetworkConfiguration};

use super::failure;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// Smallest that IPv6 allows and safe behind any tunnel.
pub(super) const DEFAULT_MTU_BYTES: u32 = 1280;
/// What IPv4 requires of every host, and the longest packet behind an Ethernet header that the
/// guest's driver takes.
const MTU_RANGE_BYTES: std::ops::RangeInclusive<u32> = 576..=65521;
/// Of the longest host name that Linux has, sethostname(2).
const MAXIMUM_NAME_BYTES: usize = 64;
const MTU_OPTION: &str = "mtu";
/// At most this many containers: larger subnets serve nobody, smaller have no room for a gateway.
const PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 8..=29;
const PREFIX6_LENGTHS: std::ops::RangeInclusive<u8> = 32..=64;

/// A checked configuration.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) configuration: NetworkConfiguration,
    pub(super) subnet: Option<Subnet>,
    /// Absent: no IPv6.
    pub(super) subnet6: Option<Subnet6>,
    pub(super) mtu: u32,
}

impl TryFrom<NetworkConfiguration> for Wanted {
    type Error = Failure;

    fn try_from(configuration: NetworkConfiguration) -> Result<Self, Failure> {
        check_name("network name", &configuration.name)?;
        let subnet = configuration.ipv4_subnet.as_deref().map(check_subnet).transpose()?;
        let subnet6 = configuration.ipv6_subnet.as_deref().map(check_subnet6).transpose()?;
        let mtu = match configuration.options.get(MTU_OPTION) {
            Some(text) => check_mtu(text.parse().ok())?,
            None => DEFAULT_MTU_BYTES,
        };
        if subnet6.is_some() && mtu < DEFAULT_MTU_BYTES {
            return Err(failure(
                FailureCode::InvalidArgument,
                format!("a network with IPv6 needs an MTU of at least {DEFAULT_MTU_BYTES}"),
            ));
        }
        Ok(Self { subnet, subnet6, mtu, configuration })
    }
}

fn check_subnet(text: &str) -> Result<Subnet, Failure> {
    let subnet: Subnet =
        text.parse().map_err(|error| failure(FailureCode::InvalidArgument, format!("{error}")))?;
    let usable = subnet.address(0).is_private() || is_shared(subnet) || is_documentation(subnet);
    if PREFIX_LENGTHS.contains(&subnet.prefix_length()) && usable {
        return Ok(subnet);
    }
    Err(failure(
        FailureCode::InvalidArgument,
        format!("subnet {subnet} must be private (such as 192.168.64.0/24), between /8 and /29"),
    ))
}

/// RFC 4193, and RFC 3849 for test beds. Containers' addresses take the last 64 bits.
fn check_subnet6(text: &str) -> Result<Subnet6, Failure> {
    let subnet: Subnet6 =
        text.parse().map_err(|error| failure(FailureCode::InvalidArgument, format!("{error}")))?;
    let start = subnet.base().segments();
    let usable = start[0] & 0xfe00 == 0xfc00 || start[..2] == [0x2001, 0xdb8];
    if PREFIX6_LENGTHS.contains(&subnet.prefix_length()) && usable {
        return Ok(subnet);
    }
    Err(failure(
        FailureCode::InvalidArgument,
        format!("IPv6 subnet {subnet} must be private (such as fd00:100::/64), between /32 and /64"),
    ))
}

/// RFC 6598.
fn is_shared(subnet: Subnet) -> bool {
    Subnet::new([100, 64, 0, 0].into(), 10).is_some_and(|shared| shared.overlaps(subnet))
}

/// RFC 5737 and the benchmarking range of RFC 2544, which test beds use.
fn is_documentation(subnet: Subnet) -> bool {
    let octets = subnet.address(0).octets();
    subnet.address(0).is_documentation() || (octets[0] == 198 && octets[1] & 0xfe == 18)
}

/// Names become part of no path and no rule, but of logs and messages.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    let good = !name.is_empty()
        && name.len() <= MAXIMUM_NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        return Ok(());
    }
    let shown: String = name.chars().take(MAXIMUM_NAME_BYTES).collect();
    Err(failure(FailureCode::InvalidArgument, format!("{what} '{}' is not valid", shown.escape_debug())))
}

/// `None` stands for what is no number. The longest that the command line has is a little longer than what there
/// is.
pub(super) fn check_mtu(mtu: Option<u32>) -> Result<u32, Failure> {
    let longest = *MTU_RANGE_BYTES.end();
    let mtu = mtu.map(|mtu| if mtu <= u16::MAX.into() { mtu.min(longest) } else { mtu });
    mtu.filter(|mtu| MTU_RANGE_BYTES.contains(mtu)).ok_or_else(|| {
        failure(
            FailureCode::InvalidArgument,
            format!("MTU must be between {} and {}", MTU_RANGE_BYTES.start(), MTU_RANGE_BYTES.end()),
        )
    })
}

/// Parses a unicast MAC address.
pub(super) fn check_mac(text: &str) -> Result<[u8; 6], Failure> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    let mut parse = || {
        for byte in &mut mac {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(mac)
    };
    parse().filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]).ok_or_else(|| {
        let shown: String = text.chars().take(32).collect();
        failure(
            FailureCode::InvalidArgument,
            format!("'{}' is not a unicast MAC address like 02:00:00:00:00:01", shown.escape_debug()),
        )
    })
}

/// Subnets for networks that do not care: those of Apple's container first.
pub(super) fn default_subnets() -> impl Iterator<Item = Subnet> {
    let near = (64..=127).map(|third| [192, 168, third, 0]);
    let far = (0..=255).map(|third| [10, 213, third, 0]);
    near.chain(far).filter_map(|base| Subnet::new(base.into(), 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_and_tiny_subnets_are_refused() {
        for good in ["192.168.64.0/24", "10.0.0.0/8", "100.64.0.0/16", "192.0.2.0/24", "198.18.0.0/15"] {
            assert!(check_subnet(good).is_ok(), "{good}");
        }
        for bad in ["8.8.8.0/24", "127.0.0.0/8", "192.168.64.0/30", "0.0.0.0/0", "169.254.0.0/16", "x"] {
            assert!(check_subnet(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn public_and_tiny_ipv6_subnets_are_refused() {
        for good in ["fd00:100::/64", "fc00:1::/32", "2001:db8:1::/48"] {
            assert!(check_subnet6(good).is_ok(), "{good}");
        }
        for bad in ["2001:db9::/64", "fe80::/64", "::/64", "fd00::/65", "fd00::/16", "ff02::/64", "x"] {
            assert!(check_subnet6(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn group_addresses_are_no_mac_addresses() {
        assert_eq!(check_mac("02:00:00:00:00:1F").unwrap(), [2, 0, 0, 0, 0, 0x1f]);
        for bad in
            ["", "02:00", "03:00:00:00:00:01", "02:00:00:00:00:01:02", "00:00:00:00:00:00", "+2:0:0:0:0:0"]
        {
            assert!(check_mac(bad).is_err(), "{bad}");
        }
    }
}
