//! IPv6 subnets.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::subnet::SubnetError;

/// Set in the addresses that containers get without asking for one: those end in `1:` and the IPv4 address.
const DERIVED: u128 = 1 << 32;

/// A subnet whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet6 {
    base: u128,
    prefix_length: u8,
}

impl Subnet6 {
    /// The subnet around an address; `None` if the prefix is longer than an address.
    pub(crate) fn new(address: Ipv6Addr, prefix_length: u8) -> Option<Self> {
        let subnet = Self { base: address.to_bits(), prefix_length };
        (prefix_length <= 128).then_some(Self { base: subnet.base & subnet.mask(), ..subnet })
    }

    /// The subnet of all addresses that begin so.
    pub(crate) const fn beginning_with([a, b, c, d]: [u16; 4]) -> Self {
        Self { base: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits(), prefix_length: 64 }
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix_length)).unwrap_or(0)
    }

    pub(crate) fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    /// The network's own address.
    pub(crate) fn base(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base)
    }

    /// The bridge's address.
    pub(crate) fn gateway(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base | 1)
    }

    /// The address of a container that has this IPv4 address: unique as that is.
    pub(crate) fn derived(self, address: Ipv4Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base | DERIVED | u128::from(address.to_bits()))
    }

    /// The inverse of [`Self::derived`].
    pub(crate) fn origin(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let offset = address.to_bits() & !self.mask();
        let bits = u32::try_from(offset.checked_sub(DERIVED)?).ok()?;
        self.contains(address).then(|| Ipv4Addr::from_bits(bits))
    }

    /// Whether a container can ask for an address: none that another gets without asking.
    pub(crate) fn offers(self, address: Ipv6Addr) -> bool {
        let offset = address.to_bits() & !self.mask();
        self.contains(address) && offset > 1 && offset >> 32 != DERIVED >> 32
    }

    pub(crate) fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & self.mask() == self.base
    }

    /// Whether any address is in both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.base & mask == other.base & mask
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base(), self.prefix_length)
    }
}

impl FromStr for Subnet6 {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let syntax = || SubnetError::Syntax6(text.chars().take(64).collect());
        let (address, prefix_length) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv6Addr = address.parse().map_err(|_| syntax())?;
        let prefix_length: u8 = prefix_length.parse().map_err(|_| syntax())?;
        let subnet = Self::new(address, prefix_length).ok_or_else(syntax)?;
        if subnet.base() == address { Ok(subnet) } else { Err(SubnetError::HostBits(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_given_and_those_that_are_asked_for_are_apart() {
        let subnet: Subnet6 = "fd00:100::/64".parse().unwrap();
        assert_eq!(subnet.gateway().to_string(), "fd00:100::1");
        let derived = subnet.derived([192, 168, 64, 5].into());
        assert_eq!(derived.to_string(), "fd00:100::1:c0a8:4005");
        assert!(subnet.contains(derived) && !subnet.offers(derived));
        for good in ["fd00:100::2", "fd00:100::2:0:0", "fd00:100::abcd"] {
            assert!(subnet.offers(good.parse().unwrap()), "{good}");
        }
        for bad in ["fd00:100::", "fd00:100::1", "fd00:101::5"] {
            assert!(!subnet.offers(bad.parse().unwrap()), "{bad}");
        }
        assert!(subnet.overlaps("fd00::/16".parse().unwrap()));
        assert!(!subnet.overlaps("fd00:101::/64".parse().unwrap()));
        for text in ["", "fd00::", "fd00::/129", "10.0.0.0/8"] {
            assert!(matches!(text.parse::<Subnet6>(), Err(SubnetError::Syntax6(_))), "{text}");
        }
        assert!(matches!("fd00::1/64".parse::<Subnet6>(), Err(SubnetError::HostBits(_))));
    }
}
