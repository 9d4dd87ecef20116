//! Addresses behind names that an earlier process let containers reach: they are in the rules that it left,
//! which are about to be replaced. Programs that remember an address do not ask for its name again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::netlink::filter::Family;
use crate::netlink::{NetlinkError, Socket};

/// Sets of names, by family and name, with their elements and how long these stay.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    left: HashMap<(Family, String), Vec<Pin>>,
}

#[derive(Clone, Debug)]
struct Pin {
    address: Vec<u8>,
    until: Instant,
}

impl Pins {
    /// What is there in the calling thread's namespace.
    pub(crate) fn read() -> Result<Self, NetlinkError> {
        let mut socket = Socket::netfilter()?;
        let mut pins = Self::default();
        for family in [Family::Ipv4, Family::Ipv6, Family::Bridge] {
            for set in socket.sets(family)?.into_iter().filter(|name| super::is_set_of_names(name)) {
                let elements = socket.elements(family, &set)?;
                let until = |left_ms: u64| Instant::now() + Duration::from_millis(left_ms);
                let found =
                    elements.into_iter().map(|(address, left_ms)| Pin { address, until: until(left_ms) });
                pins.left.insert((family, set), found.collect());
            }
        }
        Ok(pins)
    }

    /// As [`Self::read`]; a failure costs programs a question more.
    pub(crate) fn read_or_none() -> Self {
        Self::read().unwrap_or_else(|error| {
            tracing::warn!("cannot read which names were allowed: {error}");
            Self::default()
        })
    }

    /// Puts the elements of these sets back where they were.
    pub(crate) fn put_back(&mut self, filters: &mut Socket, sets: &[String]) -> Result<(), NetlinkError> {
        for set in sets {
            for family in [Family::Ipv4, Family::Ipv6, Family::Bridge] {
                for pin in self.left.remove(&(family, set.clone())).unwrap_or_default() {
                    let left = pin.until.saturating_duration_since(Instant::now());
                    if !left.is_zero() {
                        filters.pin(family, set, &pin.address, left)?;
                    }
                }
            }
        }
        Ok(())
    }
}
