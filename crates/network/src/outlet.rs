//! The way out of all containers, by whichever means this process may have one.

use bulkhead_network_control::Failure;

use crate::egress::pins::Pins;
use crate::netlink::NetlinkError;
use crate::networks::system_failure;
use crate::rootless::UserUplink;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;
use crate::uplink::Uplink;

/// The way out.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// Root's: a pair of devices and rules of the host.
    Pair(Uplink),
    /// An ordinary user's: a program.
    Program(UserUplink),
}

impl Outlet {
    /// What containers' subnets must not overlap.
    pub(crate) fn host_subnets(&mut self) -> Result<Vec<Subnet>, NetlinkError> {
        match self {
            Self::Pair(uplink) => uplink.host_subnets(),
            Self::Program(uplink) => uplink.host_subnets(),
        }
    }

    /// As [`Self::host_subnets`], for IPv6.
    pub(crate) fn host_subnets6(&mut self) -> Result<Vec<Subnet6>, NetlinkError> {
        match self {
            Self::Pair(uplink) => uplink.host_subnets6(),
            Self::Program(uplink) => uplink.host_subnets6(),
        }
    }

    /// The host's rules if somebody removed them; an ordinary user has none.
    pub(crate) fn missing_rules(&mut self) -> Result<Option<String>, NetlinkError> {
        match self {
            Self::Pair(uplink) => uplink.missing_rules(),
            Self::Program(_) => Ok(None),
        }
    }

    /// Root's, which leads the host to containers, too.
    pub(crate) fn pair(&mut self) -> Option<&mut Uplink> {
        match self {
            Self::Pair(uplink) => Some(uplink),
            Self::Program(_) => None,
        }
    }

    /// What an earlier process left of names, for whoever asks first.
    pub(crate) fn take_pins(&mut self) -> Pins {
        std::mem::take(match self {
            Self::Pair(uplink) => &mut uplink.pins,
            Self::Program(uplink) => &mut uplink.pins,
        })
    }

    /// Removes what would outlive this process.
    pub(crate) fn take_down(&mut self) -> Result<(), Failure> {
        match self {
            Self::Pair(uplink) => uplink.take_down().map_err(|error| system_failure(&error)),
            Self::Program(uplink) => uplink.take_down().map_err(|error| system_failure(&error)),
        }
    }
}
