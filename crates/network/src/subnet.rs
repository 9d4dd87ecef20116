//! IPv4 subnets.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use thiserror::Error;

/// What is wrong with a subnet's text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum SubnetError {
    #[error("'{0}' is not an IPv4 subnet like 192.168.64.0/24")]
    Syntax(String),
    #[error("'{0}' is not an IPv6 subnet like fd00:100::/64")]
    Syntax6(String),
    #[error("'{0}' has bits set beyond its prefix")]
    HostBits(String),
}

/// A subnet whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet {
    base: u32,
    prefix_length: u8,
}

impl Subnet {
    /// The subnet around an address; `None` if the prefix is longer than an address.
    pub(crate) fn new(address: Ipv4Addr, prefix_length: u8) -> Option<Self> {
        let subnet = Self { base: address.to_bits(), prefix_length };
        (prefix_length <= 32).then_some(Self { base: subnet.base & subnet.mask(), ..subnet })
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_length)).unwrap_or(0)
    }

    pub(crate) fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    /// The highest offset, which is the broadcast address.
    pub(crate) fn last_offset(self) -> u32 {
        !self.mask()
    }

    /// The address at an offset, wrapped into the subnet.
    pub(crate) fn address(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | (offset & !self.mask()))
    }

    /// Where an address is in the subnet.
    pub(crate) fn offset(self, address: Ipv4Addr) -> Option<u32> {
        (address.to_bits() & self.mask() == self.base).then_some(address.to_bits() & !self.mask())
    }

    /// Whether any address is in both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.base & mask == other.base & mask
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address(0), self.prefix_length)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let syntax = || SubnetError::Syntax(text.chars().take(64).collect());
        let (address, prefix_length) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().map_err(|_| syntax())?;
        let prefix_length: u8 = prefix_length.parse().map_err(|_| syntax())?;
        let subnet = Self::new(address, prefix_length).ok_or_else(syntax)?;
        if subnet.base == address.to_bits() {
            Ok(subnet)
        } else {
            Err(SubnetError::HostBits(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_symmetric_containment() {
        let small: Subnet = "192.168.64.0/24".parse().unwrap();
        let large: Subnet = "192.168.0.0/16".parse().unwrap();
        let other: Subnet = "192.168.65.0/24".parse().unwrap();
        assert!(small.overlaps(large) && large.overlaps(small) && !small.overlaps(other));
        assert_eq!(small.offset("192.168.64.9".parse().unwrap()), Some(9));
        assert_eq!(small.offset("192.168.65.9".parse().unwrap()), None);
        assert_eq!(small.last_offset(), 255);
    }

    #[test]
    fn odd_texts_are_refused() {
        for text in ["", "/", "1.2.3.4", "1.2.3.4/33", "1.2.3.4/-1", "::/64"] {
            assert!(matches!(text.parse::<Subnet>(), Err(SubnetError::Syntax(_))), "{text}");
        }
        assert!(matches!("10.0.0.1/24".parse::<Subnet>(), Err(SubnetError::HostBits(_))));
        assert_eq!("0.0.0.0/0".parse::<Subnet>().unwrap().last_offset(), u32::MAX);
    }
}
