//! Whether the IPv6 of root's containers leads outside. It does on a host that forwards IPv6. To turn that on is
//! up to its owner: a host that forwards is deaf to the advertisements of its routers, unless `accept_ra` is 2
//! (Documentation/networking/ip-sysctl.rst of the kernel).

use std::collections::BTreeSet;
use std::fs;

use bulkhead_api::system::Advice;

const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const ROUTES: &str = "/proc/net/ipv6_route";
/// `RTF_ADDRCONF` of linux/ipv6_route.h: the kernel has it from an advertisement.
const ADVERTISED: u32 = 0x0004_0000;

/// What keeps containers from other hosts; `None` if they are reached, or the kernel has no IPv6.
pub(super) fn advice() -> Option<Advice> {
    let forwarding = fs::read_to_string(FORWARDING).ok()?;
    if forwarding.trim() != "0" {
        return None;
    }
    let routes = fs::read_to_string(ROUTES).unwrap_or_default();
    Some(Advice {
        problem: "this host does not forward IPv6: containers reach no other host by it.".to_owned(),
        remedy: format!(
            "sysctl -w {}net.ipv6.conf.all.forwarding=1; container system stop; container system start",
            listening(&routes)
        ),
    })
}

/// Settings by which devices go on listening that have their default route from a router.
fn listening(routes: &str) -> String {
    let devices: BTreeSet<&str> = routes.lines().filter_map(advertised_default).collect();
    // A device's name may have a dot.
    devices.into_iter().map(|device| format!("net/ipv6/conf/{device}/accept_ra=2 ")).collect()
}

/// The device of a route to everywhere, out of an advertisement: destination, prefix length, …, flags, device.
fn advertised_default(route: &str) -> Option<&str> {
    let fields: Vec<&str> = route.split_whitespace().collect();
    let [_, "00", .., flags, device] = fields[..] else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let is_plain = device.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (flags & ADVERTISED != 0 && is_plain).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_goes_on_listening_to_its_routers() {
        let none = "0".repeat(32);
        let router = "fe800000000000000000000000000001";
        let route = |destination: &str, length: &str, flags: &str, device: &str| {
            format!("{destination} {length} {none} 00 {router} 00000400 00000001 00000000 {flags} {device}\n")
        };
        let advertised = route(&none, "00", "00450003", "eth0.7");
        let others = [
            route(&none, "00", "00000003", "wg0"),
            route(&none, "00", "00200200", "lo"),
            route("20010db8000000000000000000000000", "40", "00440001", "eth1"),
        ];
        assert_eq!(listening(&others.concat()), "");
        assert_eq!(listening(&(advertised + &others.concat())), "net/ipv6/conf/eth0.7/accept_ra=2 ");
    }
}
