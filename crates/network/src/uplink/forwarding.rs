//! Packet forwarding and related switches in /proc/sys/net, which shows the namespace of the thread
//! that opens a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::UplinkError;
use crate::firewall::HOST_UPLINK;
use crate::netlink::link::Link;

const IPV4_FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// Switches of our own namespace.
const OWN: &[(&str, &str)] = &[
    (IPV4_FORWARDING, "1"),
    // Answers must leave by the device that the packet came from.
    ("/proc/sys/net/ipv4/conf/all/rp_filter", "1"),
    ("/proc/sys/net/ipv4/conf/default/rp_filter", "1"),
    // A bridge speaks for its own addresses only.
    ("/proc/sys/net/ipv4/conf/all/arp_ignore", "1"),
    ("/proc/sys/net/ipv4/conf/all/accept_redirects", "0"),
    ("/proc/sys/net/ipv4/conf/all/send_redirects", "0"),
    ("/proc/sys/net/ipv4/conf/default/send_redirects", "0"),
    // The kernel would give every device a link-local address by itself. Those that exist already are of
    // networks that an earlier process made, which may have IPv6.
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"),
    ("/proc/sys/net/ipv6/conf/all/forwarding", "1"),
    // The route of `keep_answers` is by loopback, which has no IPv6 where the kernel was started with
    // ipv6.disable_ipv6=1.
    ("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0"),
    // With br_netfilter loaded, frames between containers of one network would pass the forward
    // chain, which drops what does not go outside.
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", "0"),
    ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0"),
    ("/proc/sys/net/bridge/bridge-nf-call-arptables", "0"),
];
/// Devices by which others forward packets.
const FORWARDING_KINDS: [&str; 6] = ["bridge", "veth", "tun", "wireguard", "macvlan", "ipvlan"];

/// The host's switch.
#[derive(Debug)]
pub(super) struct Forwarding {
    switch: File,
}

impl Forwarding {
    /// To be called in the host's namespace; it stays the host's switch.
    pub(super) fn of_this_namespace() -> Result<Self, UplinkError> {
        let switch = OpenOptions::new().read(true).open(IPV4_FORWARDING).map_err(failed)?;
        let switch = OpenOptions::new().read(true).write(true).open(IPV4_FORWARDING).unwrap_or(switch);
        Ok(Self { switch })
    }

    /// If it is off, remembers that we turn it on, with the devices that there are. Returns their numbers if it is
    /// on, or will be, because of us: nobody forwarded anything between these.
    pub(super) fn prepare(&mut self, marker: &Path, links: &[Link]) -> Result<Option<Vec<u32>>, UplinkError> {
        if self.is_on()? {
            return Ok(devices_before(marker));
        }
        let devices: Vec<String> = links.iter().map(|link| link.index.to_string()).collect();
        fs::write(marker, devices.join("\n"))
            .map_err(|source| UplinkError::Registry { path: marker.to_owned(), source })?;
        Ok(devices_before(marker))
    }

    /// Turns it on if it is off.
    pub(super) fn turn_on(&mut self) -> Result<(), UplinkError> {
        if !self.is_on()? {
            self.switch.write_at(b"1", 0).map_err(failed)?;
            tracing::warn!("turned on {IPV4_FORWARDING} of the host; nothing but ours is forwarded by that");
        }
        Ok(())
    }

    fn is_on(&self) -> Result<bool, UplinkError> {
        let mut value = [0];
        self.switch.read_at(&mut value, 0).map_err(failed)?;
        Ok(value != *b"0")
    }

    /// Turns it off if we turned it on and nobody else seems to rely on it: devices that were there before did
    /// without.
    pub(super) fn restore(&mut self, marker: &Path, links: &[Link]) -> Result<(), UplinkError> {
        let Some(before) = devices_before(marker) else { return Ok(()) };
        fs::remove_file(marker)
            .map_err(|source| UplinkError::Registry { path: marker.to_owned(), source })?;
        let other = links.iter().find(|link| {
            FORWARDING_KINDS.contains(&link.kind.as_str())
                && !link.name.starts_with(HOST_UPLINK)
                && !before.contains(&link.index)
        });
        match other {
            Some(link) => tracing::info!(device = link.name, "leaving {IPV4_FORWARDING} on for others"),
            None => {
                self.switch.write_at(b"0", 0).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The devices that there were when forwarding was turned on, if we did that.
fn devices_before(marker: &Path) -> Option<Vec<u32>> {
    let text = fs::read_to_string(marker).ok()?;
    Some(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Sets the switches of the calling thread's namespace.
pub(crate) fn set_up_own_namespace() -> Result<(), UplinkError> {
    for &(path, value) in OWN {
        match fs::write(path, value) {
            // A kernel without IPv6 or br_netfilter.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(|source| UplinkError::Forwarding { path, source })?,
        }
    }
    Ok(())
}

/// Whether packets of a device may go to loopback, in the namespace of the thread that turns it. The rules
/// see to it that these are redirected ones.
#[derive(Debug)]
pub(crate) struct LoopbackRoute {
    pub(super) device: String,
    pub(super) is_on: bool,
}

impl LoopbackRoute {
    pub(crate) fn turn(&self) -> Result<(), UplinkError> {
        let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.device);
        fs::write(path, if self.is_on { "1" } else { "0" })
            .map_err(|source| UplinkError::Forwarding { path: "route_localnet", source })
    }
}

fn failed(source: io::Error) -> UplinkError {
    UplinkError::Forwarding { path: IPV4_FORWARDING, source }
}
