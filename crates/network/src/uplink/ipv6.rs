//! IPv6 on our devices. It leads outside only on a host that forwards IPv6 already: turning that on would
//! make the host deaf to its own routers' advertisements.

use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

use thiserror::Error;

use crate::netlink::{NetlinkError, Socket};

/// Why a device has no IPv6.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Ipv6Error {
    /// A switch of the device.
    #[error("cannot turn on IPv6")]
    Switches(#[source] io::Error),
    /// An address or route.
    #[error("cannot give the device IPv6")]
    Device(#[from] NetlinkError),
}

/// Of the host's namespace when the process begins.
const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
/// Uplinks are `fd62:6c6b:6864:<number>::/64` (RFC 4193), the host's end 1 and ours 2.
const PREFIX: [u16; 3] = [0xfd62, 0x6c6b, 0x6864];
pub(crate) const PREFIX_LENGTH: u8 = 64;
/// Our end of an ordinary user's uplink: there is one in each namespace, beside the 4096 of root.
pub(crate) const USERS_END: Ipv6Addr = Ipv6Addr::new(PREFIX[0], PREFIX[1], PREFIX[2], 0xffff, 0, 0, 0, 2);
/// Its link-local address, which needs no other than to be another than its neighbour's.
const USERS_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100);

/// Whether the kernel has IPv6: it may have been started with `ipv6.disable=1`.
pub(crate) fn is_known() -> bool {
    Path::new(FORWARDING).exists()
}

/// Whether the namespace of the calling thread forwards.
pub(super) fn is_forwarded() -> bool {
    fs::read_to_string(FORWARDING).is_ok_and(|text| text.trim() == "1")
}

/// An end of an uplink.
pub(super) fn end(number: u32, which: u16) -> Ipv6Addr {
    let [a, b, c] = PREFIX;
    // There are 4096 at most.
    Ipv6Addr::new(a, b, c, u16::try_from(number).unwrap_or(u16::MAX), 0, 0, 0, which)
}

/// Lets a device of the calling thread's namespace have addresses, those that it is given alone.
pub(crate) fn turn_on(device: &str) -> io::Result<()> {
    // 1 is IN6_ADDR_GEN_MODE_NONE: no link-local address.
    for (name, value) in [("accept_ra", "0"), ("addr_gen_mode", "1"), ("disable_ipv6", "0")] {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/{name}");
        fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    Ok(())
}

/// Gives an ordinary user's uplink its addresses, and the way out by a neighbour. To be called in our namespace.
pub(crate) fn connect_users_uplink(
    links: &mut Socket,
    device: &str,
    gateway: Ipv6Addr,
) -> Result<(), Ipv6Error> {
    turn_on(device).map_err(Ipv6Error::Switches)?;
    let link = links.link(device)?.index;
    for (address, prefix_length) in [(USERS_LINK_LOCAL, PREFIX_LENGTH), (USERS_END, 128)] {
        links.add_address(link, address.into(), prefix_length)?;
    }
    Ok(links.add_default_route(gateway.into(), link)?)
}

/// As [`turn_on`], with a link-local address: by that the two ends of the uplink find each other.
pub(super) fn turn_on_uplink(device: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_ra"), "0")?;
    fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "0")
}
