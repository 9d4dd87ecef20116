//! nftables rules, in our namespace and in the host's.
//!
//! All rules are written once, before the first lease: they match devices by the first letters of
//! their names, and one set holds what changes. Tables of others are never touched.

mod answer;
pub(crate) mod host;
mod nft;
pub(crate) mod openings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::filter::{Family, Set};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

pub(crate) use answer::divert;
use answer::{answer, refused};
pub(crate) use nft::{FirewallError, load, program, while_none_starts};

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

/// MAC addresses of containers with their IPv4 addresses.
pub(crate) const NEIGHBOURS: Set = Set { family: Family::Bridge, table: "bulkhead", name: "neighbours" };
/// As [`PORTS`], for IPv6: an own address and the link-local one that follows from the MAC address.
pub(crate) const PORTS6: Set = Set { family: Family::Bridge, table: "bulkhead", name: "ports6" };
/// As [`NEIGHBOURS`], for IPv6.
pub(crate) const NEIGHBOURS6: Set = Set { family: Family::Bridge, table: "bulkhead", name: "neighbours6" };
/// Which port may say that it is a neighbour (RFC 4861, section 4.4): port, MAC address in the option,
/// address.
pub(crate) const TARGETS6: Set = Set { family: Family::Bridge, table: "bulkhead", name: "targets6" };
/// Where refusals of egress policies are logged: a number within our namespace.
pub(crate) const LOG_GROUP: u16 = 7;

/// On packets of sockets that bear the address of a published port's client.
pub(crate) const CLIENTS_MARK: u32 = 2;
/// On what answers these: it is led to the sockets.
pub(crate) const ANSWERS_MARK: u32 = 1;

/// Frames that a container may send in a second. A train of segments is one, so that this bounds what it
/// makes others look at and not what it transfers.
const FRAMES: u32 = 100_000;
/// Of these, frames to everybody on its network: each wakes all.
const CALLS: u32 = 500;
/// Questions for names over UDP that a container may ask in a second, and at once: the others' must find
/// room in the server's queue, too.
const QUESTIONS: u32 = 1000;
const QUESTIONS_AT_ONCE: u32 = 100;

/// Those about clients of published ports, for either family.
fn client_rules() -> String {
    format!(
        r#"  chain proxied {{
    type filter hook output priority mangle; policy accept;
    meta mark {CLIENTS_MARK} ct mark set {ANSWERS_MARK}
  }}
  chain answering {{
    type filter hook prerouting priority mangle; policy accept;
    iifname "{OUTWARD_BRIDGE}*" ct direction reply ct mark {ANSWERS_MARK} meta mark set ct mark
  }}
"#
    )
}

/// A gateway stands for the host, which lets nobody in but to published ports: as parts of our namespace's rules, what
/// goes before the chain `forward`, at its beginning, and into it before policies judge. They do so before, by the
/// address that was asked for. Of an ordinary user's host we are no neighbour.
fn to_host(host: Ipv4Addr) -> [String; 3] {
    if host.is_unspecified() {
        return openings::base();
    }
    let chains = format!(
        r#"  chain to_host {{
    ip saddr vmap @egress
    dnat to {host}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{OUTWARD_BRIDGE}*" fib daddr . iif type local meta l4proto {{ tcp, udp }} th dport != 53 goto to_host
  }}
"#
    );
    let judged = format!(
        "    ct status dnat ip daddr {host} iifname \"{OUTWARD_BRIDGE}*\" oifname \"{UPLINK}\" accept\n"
    );
    [chains, String::new(), judged]
}

/// Rules of our own namespace, in place of those of an earlier process.
///
/// * input: containers reach their gateway's DNS server and can ping it, if their policy lets them. `fib`
///   refuses addresses of another bridge, which Linux would otherwise answer on any device.
/// * forward: outward only; never between networks, never to link-local addresses, where clouds
///   keep credentials, nor to IPv6 addresses that stand for IPv4 ones within a program (RFC 4291,
///   section 2.5.5), which would be judged as neither. Inward from the host itself, whose end of the uplink has the address `host`.
/// * bridge: a container sends from its own MAC and IP addresses only, in ARP and neighbour discovery too.
///   Everything else (VLAN tags, DHCP, routers' advertisements) is dropped, and so are link-local
///   addresses but as the source of a neighbour's question.
/// * proxied, answering: what a published port's proxy says in the name of a client is marked, and what answers
///   it, which is then routed to the proxy and not to the client.
/// * answer: what a container may not is refused aloud, if nothing about it is false.
/// * egress: a map leads to the chains of containers with a policy, see [`crate::egress`].
///
/// What masquerades forgets its connections when its device goes, so an uplink whose addresses are known has them
/// named: it may come again, when container-network died. `addresses` are those, if they are.
pub(crate) fn inner_rules(host: Ipv4Addr, addresses: (Option<Ipv4Addr>, Option<Ipv6Addr>)) -> String {
    let clients = client_rules();
    let [to_host, to_host_first, judged] = to_host(host);
    let (answer4, answer6, refused) = (answer(Family::Ipv4), answer(Family::Ipv6), refused());
    let source = addresses.0.map_or_else(|| "masquerade".to_owned(), |address| format!("snat to {address}"));
    let source6 = addresses.1.map_or_else(|| "masquerade".to_owned(), |address| format!("snat to {address}"));
    format!(
        r#"table ip bulkhead
delete table ip bulkhead
table ip6 bulkhead
delete table ip6 bulkhead
table bridge {table}
delete table bridge {table}
table ip bulkhead {{
{answer4}{refused}  set refusals {{ type ipv4_addr; flags dynamic, timeout; size 65536; timeout 1m; }}
  map egress {{ type ipv4_addr : verdict; }}
  set askers {{ type ipv4_addr; flags dynamic, timeout; size 65536; timeout 10s; }}
  chain refuse {{
    update @refusals {{ ip saddr limit rate 1/second burst 20 packets }} log group {LOG_GROUP}
    goto answer
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    udp dport 53 update @askers {{ ip saddr limit rate over {QUESTIONS}/second burst {QUESTIONS_AT_ONCE} packets }} drop
    ct state established,related accept
    ct state invalid drop
    iifname "{OUTWARD_BRIDGE}*" jump container
    iifname "{INTERNAL_BRIDGE}*" jump container
  }}
  chain container {{
    fib daddr . iif type != local goto answer
    icmp type echo-request ip saddr vmap @egress
    icmp type echo-request accept
    udp dport 53 accept
    tcp dport 53 accept
    goto answer
  }}
{to_host}  chain forward {{
    type filter hook forward priority filter; policy drop;
{to_host_first}    ct state established,related accept
    ct state invalid drop
    ip daddr 169.254.0.0/16 goto answer
{judged}    ip saddr vmap @egress
    iifname "{OUTWARD_BRIDGE}*" oifname "{UPLINK}" accept
    iifname "{UPLINK}" ip saddr {host} oifname {{ "{OUTWARD_BRIDGE}*", "{INTERNAL_BRIDGE}*" }} accept
    iifname {{ "{OUTWARD_BRIDGE}*", "{INTERNAL_BRIDGE}*" }} goto answer
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{UPLINK}" {source}
  }}
{clients}}}
table ip6 bulkhead {{
{answer6}{refused}  set refusals {{ type ipv6_addr; flags dynamic, timeout; size 65536; timeout 1m; }}
  map egress {{ type ipv6_addr : verdict; }}
  chain refuse {{
    update @refusals {{ ip6 saddr limit rate 1/second burst 20 packets }} log group {LOG_GROUP}
    goto answer
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    ct state invalid drop
    iifname {{ "{OUTWARD_BRIDGE}*", "{INTERNAL_BRIDGE}*" }} jump container
    iifname "{UPLINK}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
  }}
  chain container {{
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    fib daddr . iif type != local goto answer
    icmpv6 type echo-request ip6 saddr vmap @egress
    icmpv6 type echo-request accept
    goto answer
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    ip6 daddr {{ ::/64, fe80::/10, ff00::/8, fd00:ec2::254 }} goto answer
    ip6 saddr vmap @egress
    iifname "{OUTWARD_BRIDGE}*" oifname "{UPLINK}" accept
    iifname {{ "{OUTWARD_BRIDGE}*", "{INTERNAL_BRIDGE}*" }} goto answer
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{UPLINK}" {source6}
  }}
{clients}}}
table bridge {table} {{
  set {set} {{ type ifname . ether_addr . ipv4_addr; }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "{PORT}*" accept
    update @senders {{ iifname limit rate over {FRAMES}/second burst {FRAMES} packets }} drop
    ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 update @callers {{ iifname limit rate over {CALLS}/second burst {CALLS} packets }} drop
    udp sport 67 drop
    ether type ip iifname . ether saddr . ip saddr @{set} accept
    ether type ip6 jump sending6
    ether type arp iifname . ether saddr . arp saddr ip @{set} iifname . arp saddr ether . arp saddr ip @{set} accept
    drop
  }}
  set senders {{ type ifname; flags dynamic, timeout; size 65536; timeout 10s; }}
  set callers {{ type ifname; flags dynamic, timeout; size 65536; timeout 10s; }}
  set {set6} {{ type ifname . ether_addr . ipv6_addr; }}
  set {targets6} {{ typeof iifname . @th,208,48 . @th,64,128; }}
  set {neighbours6} {{ type ether_addr . ipv6_addr; }}
  chain answering6 {{
    ip6 saddr fe80::/10 drop
    @th,192,16 0x0201 iifname . @th,208,48 . @th,64,128 @{targets6} iifname . ether saddr . ip6 saddr @{set6} accept
  }}
  chain sending6 {{
    ip6 daddr fe80::/10 drop
    icmpv6 type {{ nd-router-solicit, nd-router-advert, nd-redirect, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report }} drop
    icmpv6 type nd-neighbor-advert jump answering6
    icmpv6 type nd-neighbor-advert drop
    icmpv6 type nd-neighbor-solicit iifname . ether saddr . ip6 saddr @{set6} accept
    ip6 saddr fe80::/10 drop
    iifname . ether saddr . ip6 saddr @{set6} accept
    drop
  }}
  set {neighbours} {{ type ether_addr . ipv4_addr; }}
  map restricted {{ type ifname : verdict; }}
  set asked {{ type ifname . ipv4_addr; flags dynamic, timeout; size 65536; timeout 10s; }}
  set asked6 {{ type ifname . ipv6_addr; flags dynamic, timeout; size 65536; timeout 10s; }}
  set refusals {{ type ifname; flags dynamic, timeout; size 65536; timeout 1m; }}
  set answered {{ type ifname; flags dynamic, timeout; size 65536; timeout 10s; }}
  map egress {{ type ifname : verdict; }}
  chain refuse {{
    update @refusals {{ iifname limit rate 1/second burst 20 packets }} log group {LOG_GROUP}
  }}
  chain sending {{
    type filter hook prerouting priority -200; policy accept;
    iifname vmap @egress
  }}
  chain asking {{
    type filter hook forward priority 0; policy accept;
    oifname vmap @restricted
  }}
  chain echo {{
    icmp type echo-request update @asked {{ oifname . ip saddr }}
    icmpv6 type echo-request update @asked6 {{ oifname . ip6 saddr }}
  }}
}}
"#,
        neighbours = NEIGHBOURS.name,
        table = PORTS.table,
        set = PORTS.name,
        set6 = PORTS6.name,
        targets6 = TARGETS6.name,
        neighbours6 = NEIGHBOURS6.name,
    )
}

/// Rules of our own namespace that keep containers from what an ordinary user's way out would take for the
/// host itself.
pub(crate) fn host_rules(refused: &[Subnet], refused6: &[Subnet6]) -> String {
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let refused6: Vec<String> = refused6.iter().map(ToString::to_string).collect();
    let families = [("ip", "ipv4_addr", Family::Ipv4, refused), ("ip6", "ipv6_addr", Family::Ipv6, refused6)];
    let tables = families.map(|(family, kind, number, refused)| {
        let answer = answer(number);
        format!(
            r#"table {family} bulkhead-host
delete table {family} bulkhead-host
table {family} bulkhead-host {{
  set refused {{ type {kind}; flags interval; auto-merge; elements = {{ {} }}; }}
{answer}  chain forward {{
    type filter hook forward priority -10; policy accept;
    oifname "{UPLINK}" {family} daddr @refused goto answer
  }}
}}
"#,
            refused.join(", ")
        )
    });
    tables.concat()
}

/// The key of a port in [`NEIGHBOURS`] or [`NEIGHBOURS6`]: its parts, each padded to 4 bytes.
pub(crate) fn neighbour_key(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    [&mac[..], &[0; 2], &octets(address)].concat()
}

/// The key of a port in [`PORTS`], [`PORTS6`] and [`TARGETS6`]: its parts, each padded to 4 bytes, the
/// device name to 16.
pub(crate) fn port_key(device: &str, mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    // Device names have at most 15 bytes.
    let name = &device.as_bytes()[..device.len().min(15)];
    [name, &vec![0; 16 - name.len()], &mac, &[0; 2], &octets(address)].concat()
}

/// An address as sets have it.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The link-local address that a kernel makes of a MAC address (RFC 4291, appendix A).
pub(crate) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}
