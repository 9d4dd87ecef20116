//! The network that is always there, as the settings have it.
//!
//! Its IPv4 subnet is a preference for the day on which it is made. Its IPv6 subnet is what the settings
//! say at each start: the network cannot be deleted and made anew, and it gets none by itself.

use std::collections::BTreeMap;

use bulkhead_network_control::DEFAULT_NETWORK;
use bulkhead_state::NetworkRecord;

use crate::date;
use crate::settings::Settings;

/// Makes sure that it is among the known networks; returns it as it was if its IPv6 subnet is to change.
pub(super) fn apply(
    settings: &Settings,
    networks: &mut BTreeMap<String, NetworkRecord>,
) -> Option<NetworkRecord> {
    let default = networks.entry(DEFAULT_NETWORK.to_owned()).or_insert_with(|| NetworkRecord {
        name: DEFAULT_NETWORK.to_owned(),
        ipv4_subnet: settings.ipv4_subnet.clone(),
        ipv6_subnet: settings.ipv6_subnet.clone(),
        subnet_is_fixed: false,
        internal: false,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
        creation_date: date::now(),
    });
    let earlier = (default.ipv6_subnet != settings.ipv6_subnet).then(|| default.clone());
    default.ipv6_subnet.clone_from(&settings.ipv6_subnet);
    earlier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ipv6_subnet_follows_the_settings_and_the_ipv4_subnet_stays() {
        let settings = |ipv4: Option<&str>, ipv6: Option<&str>| Settings {
            ipv4_subnet: ipv4.map(str::to_owned),
            ipv6_subnet: ipv6.map(str::to_owned),
            ..Settings::default()
        };
        let mut networks = BTreeMap::new();
        let first = settings(Some("10.1.0.0/16"), None);
        assert_eq!(apply(&first, &mut networks), None);
        let made = networks[DEFAULT_NETWORK].clone();
        assert_eq!(made.ipv4_subnet.as_deref(), Some("10.1.0.0/16"));
        assert_eq!(apply(&first, &mut networks), None);
        assert_eq!(apply(&settings(None, Some("fd00:1::/64")), &mut networks), Some(made.clone()));
        let changed = networks[DEFAULT_NETWORK].clone();
        assert_eq!(changed, NetworkRecord { ipv6_subnet: Some("fd00:1::/64".to_owned()), ..made.clone() });
        assert_eq!(apply(&first, &mut networks), Some(changed));
        assert_eq!(networks[DEFAULT_NETWORK], made);
    }
}
