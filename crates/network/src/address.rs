//! What an address stands for.

use std::net::IpAddr;

/// Whether it is one host's wherever it is heard of: not whoever hears it, everybody's, or nobody's.
pub(crate) fn is_of_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets()[0] == 0)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || address.is_unspecified())
        }
    }
}
