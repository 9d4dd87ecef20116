//! Rules of the host's namespace for one uplink, in tables of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bulkhead_network_control::PortRange;

use super::HOST_UPLINK;
use super::answer::host_answer;
use crate::netlink::filter::Family;

/// Kinds of devices that others make to forward packets of what is behind them.
const OTHERS_KINDS: [&str; 2] = ["bridge", "veth"];

/// The chain of published ports.
const PUBLISHED: &str = "published";

/// Name of an uplink's table.
pub(crate) fn table(device: &str) -> String {
    format!("bulkhead-{device}")
}

/// What the rules are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostRules<'a> {
    /// The host's end.
    pub(crate) device: &'a str,
    /// Its address.
    pub(crate) outer: Ipv4Addr,
    /// Our end's address.
    pub(crate) inner: Ipv4Addr,
    /// The same for IPv6, of a host that has it.
    pub(crate) inner6: Option<Ipv6Addr>,
    /// Connections to one of these become ones to the host's loopback.
    pub(crate) redirects: &'a [Ipv4Addr],
    /// Published ports that containers reach by the host's addresses.
    pub(crate) published: &'a [PortRange],
    /// Numbers of the devices that there were when forwarding was turned on, if we did that.
    pub(crate) devices_before: Option<&'a [u32]>,
}

impl HostRules<'_> {
    /// Out with the host's address, answers back in; nothing to the host itself but to published ports, nothing
    /// to other uplinks, both refused aloud, nothing that the host did not track. In place of the same rules of before.
    pub(crate) fn text(&self) -> String {
        let Self { device, outer, inner, .. } = self;
        format!(
            r#"table ip {table}
delete table ip {table}
table ip {table} {{
{prerouting}{published}{answer}  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != {{ "lo", "{device}" }} ip daddr {outer} drop
    iifname != "{device}" accept
    ct state established,related accept
    ip daddr 127.0.0.1 ct status dnat accept
    jump {PUBLISHED}
    ip saddr {inner} goto answer
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{device}" ip saddr != {inner} drop
    iifname "{device}" ip daddr 169.254.0.0/16 goto answer
    iifname "{device}" oifname "{HOST_UPLINK}*" goto answer
    iifname "{device}" accept
    oifname "{device}" ct state established,related accept
    oifname "{device}" drop
  }}
{others}  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {inner} oifname != "{device}" masquerade
  }}
}}
{ipv6}"#,
            table = table(device),
            prerouting = self.prerouting(),
            published = published(self.published),
            answer = host_answer(Family::Ipv4),
            others = self.devices_before.map(others).unwrap_or_default(),
            ipv6 = self.inner6.map(|inner| ipv6(device, inner)).unwrap_or_default(),
        )
    }

    fn prerouting(&self) -> String {
        let Self { device, inner, redirects, .. } = self;
        if redirects.is_empty() {
            return String::new();
        }
        let addresses = redirects.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
        format!(
            r#"  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{device}" ip saddr {inner} ip daddr {{ {addresses} }} dnat to 127.0.0.1
  }}
"#
        )
    }
}

/// Makes these the published ports of rules that are in force.
pub(crate) fn change_of_published(device: &str, ranges: &[PortRange]) -> String {
    let table = table(device);
    format!("flush chain ip {table} {PUBLISHED}\ntable ip {table} {{\n{}}}\n", published(ranges))
}

/// Whether a container could ask for it by an address of the host: IPv4, which leads there, and no loopback.
pub(crate) fn is_open(range: &PortRange) -> bool {
    range.host_address.is_ipv4() && !range.host_address.is_loopback()
}

fn published(ranges: &[PortRange]) -> String {
    let rule = |range: &PortRange| {
        let address = match range.host_address {
            IpAddr::V4(address) if !address.is_unspecified() => format!("ip daddr {address} "),
            _ => String::new(),
        };
        let (first, protocol) = (range.host_port, range.protocol.as_str());
        let last = first.saturating_add(range.count.saturating_sub(1));
        format!("    {address}{protocol} dport {first}-{last} accept\n")
    };
    format!("  chain {PUBLISHED} {{\n{}  }}\n", ranges.iter().map(rule).collect::<String>())
}

/// A host that did not forward before is no router between its other networks because of us. What is made later
/// to forward (the bridge of a virtual machine or of other containers, a namespace's veth pair) is not hindered.
fn others(devices_before: &[u32]) -> String {
    let numbers = devices_before.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let later: String = ["iif", "oif"]
        .iter()
        .flat_map(|side| OTHERS_KINDS.map(|kind| (side, kind)))
        .map(|(side, kind)| match numbers.is_empty() {
            true => format!("    meta {side}kind \"{kind}\" accept\n"),
            false => format!("    meta {side}kind \"{kind}\" {side} != {{ {numbers} }} accept\n"),
        })
        .collect();
    format!(
        r#"  chain others {{
    type filter hook forward priority filter; policy accept;
    iifname "{HOST_UPLINK}*" accept
    oifname "{HOST_UPLINK}*" accept
{later}    drop
  }}
"#
    )
}

fn ipv6(device: &str, inner: Ipv6Addr) -> String {
    format!(
        r#"table ip6 {table}
delete table ip6 {table}
table ip6 {table} {{
{answer}  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "{device}" accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    ct state established,related accept
    ip6 saddr {inner} goto answer
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{device}" ip6 saddr != {inner} drop
    iifname "{device}" ip6 daddr {{ fe80::/10, ff00::/8, fd00:ec2::254 }} goto answer
    iifname "{device}" oifname "{HOST_UPLINK}*" goto answer
    iifname "{device}" accept
    oifname "{device}" ct state established,related accept
    oifname "{device}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip6 saddr {inner} oifname != "{device}" masquerade
  }}
}}
"#,
        table = table(device),
        answer = host_answer(Family::Ipv6),
    )
}
