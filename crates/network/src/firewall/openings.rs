//! How containers of an ordinary user reach published ports by the host's addresses: without leaving our namespace,
//! for on the host their connections could not be told from others of the user's.
//!
//! What is meant for such a port is led to the container behind it, which sees its gateway as the client. Each
//! publication has a mark, by which its connections end with it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use bulkhead_network_control::PortRange;

use super::host::is_open;
use super::{INTERNAL_BRIDGE, OUTWARD_BRIDGE, UPLINK};
use crate::subnet::Subnet;

/// The highest bit of the marks of these connections, which no others have.
const OPENED: u32 = 0x8000_0000;

/// The published ports of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// No other has it.
    pub(crate) number: u32,
    pub(crate) container: Ipv4Addr,
    pub(crate) ranges: Vec<PortRange>,
}

/// Parts of the rules of our namespace: what goes before all else in its table, at the beginning of the chain
/// `forward`, and into it before policies judge.
pub(super) fn base() -> [String; 3] {
    let tables = format!(
        r#"  set hosts {{ type ipv4_addr; flags interval; auto-merge; }}
  set opened {{ type mark; }}
  chain published {{ }}
  chain published_here {{ }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname != "{OUTWARD_BRIDGE}*" accept
    fib daddr . iif type local meta l4proto {{ tcp, udp }} th dport != 53 goto published
    ip daddr @hosts jump published_here
    ip daddr @hosts goto published
  }}
  chain opening {{
    type nat hook postrouting priority srcnat - 1; policy accept;
    ct mark & {OPENED:#x} == {OPENED:#x} oifname != "{UPLINK}" masquerade
  }}
"#
    );
    let first = format!("    ct mark & {OPENED:#x} == {OPENED:#x} ct mark != @opened goto answer\n");
    let before_policies = format!(
        "    ct mark & {OPENED:#x} == {OPENED:#x} iifname \"{OUTWARD_BRIDGE}*\" oifname {{ \"{OUTWARD_BRIDGE}*\", \
         \"{INTERNAL_BRIDGE}*\" }} accept\n"
    );
    [tables, first, before_policies]
}

/// Has these be the addresses of the host.
pub(crate) fn change_of_hosts(hosts: &[Subnet]) -> String {
    let mut text = "flush set ip bulkhead hosts\n".to_owned();
    let hosts: Vec<String> =
        hosts.iter().filter(|host| !host.address(0).is_loopback()).map(ToString::to_string).collect();
    if !hosts.is_empty() {
        // A String takes everything.
        let _ = writeln!(text, "add element ip bulkhead hosts {{ {} }}", hosts.join(", "));
    }
    text
}

/// Has these be the openings.
pub(crate) fn change(openings: &[Opening]) -> String {
    let (mut everywhere, mut here, mut marks) = (String::new(), String::new(), Vec::new());
    for opening in openings {
        let mark = OPENED | opening.number;
        let before = everywhere.len() + here.len();
        for range in opening.ranges.iter().filter(|range| is_open(range)) {
            let (chain, address) = match range.host_address {
                IpAddr::V4(address) if !address.is_unspecified() => {
                    (&mut here, format!("ip daddr {address} "))
                }
                _ => (&mut everywhere, String::new()),
            };
            let protocol = range.protocol.as_str();
            let last = range.host_port.saturating_add(range.count.saturating_sub(1));
            let asked = format!("    {address}{protocol} dport {}-{last}", range.host_port);
            // As for root, a policy must allow the address that was asked for.
            let _ = writeln!(chain, "{asked} ip saddr vmap @egress");
            let _ =
                writeln!(chain, "{asked} ct mark set {mark:#x} {}", translation(opening.container, range));
        }
        if everywhere.len() + here.len() > before {
            marks.push(format!("{mark:#x}"));
        }
    }
    let mut text = "flush chain ip bulkhead published\nflush chain ip bulkhead published_here\n\
                    flush set ip bulkhead opened\n"
        .to_owned();
    if !marks.is_empty() {
        let _ = writeln!(text, "add element ip bulkhead opened {{ {} }}", marks.join(", "));
    }
    let _ = writeln!(
        text,
        "table ip bulkhead {{\n  chain published {{\n{everywhere}  }}\n  chain published_here {{\n{here}  }}\n}}"
    );
    text
}

fn translation(container: Ipv4Addr, range: &PortRange) -> String {
    if range.count == 1 {
        return format!("dnat to {container}:{}", range.container_port);
    }
    let ports = (0..range.count).map(|offset| {
        let (from, to) =
            (range.host_port.saturating_add(offset), range.container_port.saturating_add(offset));
        format!("{from} : {to}")
    });
    let ports = ports.collect::<Vec<_>>().join(", ");
    format!("dnat to {container} : {} dport map {{ {ports} }}", range.protocol.as_str())
}
