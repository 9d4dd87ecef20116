//! nftables rules, in our namespace and in the host's.
//!
//! All rules are written once, before the first lease: they match devices by the first letters of
//! their names, and one set holds what changes. Tables of others are never touched.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use thiserror::Error;

use crate::netlink::filter::{Family, Set};

/// First letters of bridges with a way outside.
pub(crate) const OUTWARD_BRIDGE: &str = "bn";
/// First letters of bridges of internal networks.
pub(crate) const INTERNAL_BRIDGE: &str = "bi";
/// First letter of the bridge's end of a container's veth pair.
pub(crate) const PORT: &str = "v";
/// Our end of the veth pair to the host.
pub(crate) const UPLINK: &str = "uplink";
/// First letters of the host's end.
pub(crate) const HOST_UPLINK: &str = "bhu";

/// Which port may send from which MAC and IPv4 address.
pub(crate) const PORTS: Set = Set { family: Family::Bridge, table: "bulkhead", name: "ports" };

/// Why rules could not be put in place.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum FirewallError {
    /// No nft program.
    #[error("cannot run nft (package nftables)")]
    Spawn(#[source] io::Error),
    /// Its pipes failed.
    #[error("cannot talk to nft")]
    Transfer(#[source] io::Error),
    /// It refused the rules.
    #[error("nft refuses {what}: {output}")]
    Refused { what: &'static str, output: String },
}

/// An nft program at work.
#[derive(Debug)]
pub(crate) struct Loading {
    what: &'static str,
    child: Child,
}

/// Has nft load rules in the calling thread's network namespace.
pub(crate) fn load(what: &'static str, rules: &str) -> Result<Loading, FirewallError> {
    let mut child = Command::new(program())
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(FirewallError::Spawn)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes()).map_err(FirewallError::Transfer)?;
    }
    Ok(Loading { what, child })
}

/// nft by PATH, else where distributions put it: a user's PATH may have no sbin.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join("nft")).find(|program| program.is_file());
    found.unwrap_or_else(|| PathBuf::from("nft"))
}

impl Loading {
    /// Waits until the rules are in place.
    pub(crate) fn finish(self) -> Result<(), FirewallError> {
        let output = self.child.wait_with_output().map_err(FirewallError::Transfer)?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(FirewallError::Refused {
            what: self.what,
            output: text.lines().take(3).collect::<Vec<_>>().join("; "),
        })
    }
}

/// Rules of our own namespace, in place of those of an earlier process.
///
/// * input: containers reach their gateway's DNS server and can ping it. `fib` refuses addresses of
///   another bridge, which Linux would otherwise answer on any device.
/// * forward: outward only; never between networks, never to link-local addresses, where clouds
///   keep credentials.
/// * bridge: a container sends from its own MAC and IPv4 address only, in ARP too. Everything else
///   (IPv6, VLAN tags, DHCP) is dropped.
pub(crate) fn inner_rules() -> String {
    format!(
        r#"table ip bulkhead
delete table ip bulkhead
table bridge {table}
delete table bridge {table}
table ip bulkhead {{
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    ct state invalid drop
    iifname "{OUTWARD_BRIDGE}*" jump container
    iifname "{INTERNAL_BRIDGE}*" jump container
  }}
  chain container {{
    fib daddr . iif type != local drop
    icmp type echo-request accept
    udp dport 53 accept
    tcp dport 53 accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    ip daddr 169.254.0.0/16 drop
    iifname "{OUTWARD_BRIDGE}*" oifname "{UPLINK}" accept
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{UPLINK}" masquerade
  }}
}}
table bridge {table} {{
  set {set} {{ type ifname . ether_addr . ipv4_addr; }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "{PORT}*" accept
    ether type ip iifname . ether saddr . ip saddr @{set} accept
    ether type arp iifname . ether saddr . arp saddr ip @{set} iifname . arp saddr ether . arp saddr ip @{set} accept
    drop
  }}
}}
"#,
        table = PORTS.table,
        set = PORTS.name,
    )
}

/// Name of an uplink's table in the host's namespace.
pub(crate) fn outer_table(device: &str) -> String {
    format!("bulkhead-{device}")
}

/// Rules of the host's namespace for one uplink: out with the host's address, answers back in;
/// nothing to the host itself, nothing to other uplinks, nothing that the host did not track.
pub(crate) fn outer_rules(device: &str, inner: Ipv4Addr) -> String {
    format!(
        r#"table ip {table} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "{device}" accept
    ct state established,related accept
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{device}" ip daddr 169.254.0.0/16 drop
    iifname "{device}" oifname "{HOST_UPLINK}*" drop
    iifname "{device}" ip saddr != {inner} drop
    iifname "{device}" accept
    oifname "{device}" ct state established,related accept
    oifname "{device}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {inner} oifname != "{device}" masquerade
  }}
}}
"#,
        table = outer_table(device),
    )
}

/// The key of a port in [`PORTS`]: its parts, each padded to 4 bytes, the device name to 16.
pub(crate) fn port_key(device: &str, mac: [u8; 6], address: Ipv4Addr) -> [u8; 28] {
    let mut key = [0; 28];
    let name = device.as_bytes();
    // Device names have at most 15 bytes.
    let length = name.len().min(15);
    key[..length].copy_from_slice(&name[..length]);
    key[16..22].copy_from_slice(&mac);
    key[24..].copy_from_slice(&address.octets());
    key
}
