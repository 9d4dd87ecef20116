//! IPv6 on our devices. It leads outside only on a host that forwards IPv6 already: turning that on would
//! make the host deaf to its own routers' advertisements.

use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

/// Of the host's namespace when the process begins.
const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
/// Uplinks are `fd62:6c6b:6864:<number>::/64` (RFC 4193), the host's end 1 and ours 2.
const PREFIX: [u16; 3] = [0xfd62, 0x6c6b, 0x6864];
pub(super) const PREFIX_LENGTH: u8 = 64;

/// Whether the kernel has IPv6: it may have been started with `ipv6.disable=1`.
pub(super) fn is_known() -> bool {
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

/// As [`turn_on`], with a link-local address: by that the two ends of the uplink find each other.
pub(super) fn turn_on_uplink(device: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_ra"), "0")?;
    fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "0")
}
