//! Egress policies: what a container that one does not trust may begin a connection to.
//!
//! Routed packets are judged in our IP table by the sender's address, which the bridge has verified;
//! there the kernel knows connections and puts fragments together. Frames between containers are judged
//! in the bridge table by the sender's port. Kernels need not know connections of bridges, so the table
//! remembers itself who was asked something by whom. Every policy has a chain in each table, and a set for
//! each name that it allows: the DNS server puts addresses there before it answers.

pub(crate) mod pins;
pub(crate) mod refusals;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use bulkhead_network_control::{EgressPolicy, EgressTarget, Failure, FailureCode, PortSpan};

use crate::address::is_of_one_host;
use crate::firewall::{PORTS, divert};
use crate::networks::failure;
use crate::port::{Identity, Plan, device_name};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// Rules of one container.
const MAXIMUM_RULES: usize = 256;
const MAXIMUM_NAME_BYTES: usize = 253;
/// Addresses behind one name at once.
const MAXIMUM_ADDRESSES: usize = 4096;
/// Connections and exchanges of other containers with one container that are remembered at once, of each
/// family. Others decide how many there are.
const MAXIMUM_ANSWERS: usize = 16_384;

/// A checked policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    subnets: Vec<(IpAddr, u8, Option<PortSpan>)>,
    /// In lower case; `*.` in front stands for any names below.
    names: Vec<(String, Option<PortSpan>)>,
}

impl TryFrom<EgressPolicy> for Policy {
    type Error = Failure;

    fn try_from(policy: EgressPolicy) -> Result<Self, Failure> {
        let mut checked = Self { subnets: Vec::new(), names: Vec::new() };
        let refuse = |what: String| Err(failure(FailureCode::InvalidArgument, what));
        if policy.allow.len() > MAXIMUM_RULES {
            return refuse(format!("an egress policy has at most {MAXIMUM_RULES} rules"));
        }
        for rule in policy.allow {
            if rule.ports.is_some_and(|ports| ports.first == 0 || ports.first > ports.last) {
                return refuse("an egress rule has a range of ports that is empty".to_owned());
            }
            match rule.target {
                EgressTarget::Subnet { address, prefix_length }
                    if prefix_length <= if address.is_ipv4() { 32 } else { 128 } =>
                {
                    checked.subnets.push((address, prefix_length, rule.ports));
                }
                EgressTarget::Name { name } if is_pattern(&name) => {
                    checked.names.push((name.to_ascii_lowercase(), rule.ports));
                }
                target => return refuse(format!("an egress rule allows what is no destination: {target:?}")),
            }
        }
        Ok(checked)
    }
}

fn is_pattern(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    !plain.is_empty()
        && name.len() <= MAXIMUM_NAME_BYTES
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Name of a container's chain in both tables.
fn chain(address: Ipv4Addr) -> String {
    format!("e{:08x}", address.to_bits())
}

/// Name of the set of addresses behind a container's name rule, of IPv4 or IPv6.
pub(crate) fn set(address: Ipv4Addr, rule: usize, is_ipv6: bool) -> String {
    format!("{}n{rule}{}", chain(address), if is_ipv6 { "s" } else { "" })
}

/// Name of the set of what a container was asked by others of its networks, and may answer.
fn answers(address: Ipv4Addr, is_ipv6: bool) -> String {
    format!("{}a{}", chain(address), if is_ipv6 { "s" } else { "" })
}

/// Name of the chain that passes what comes to a container from others of its networks. What is meant for
/// somebody else (bridges show frames to all ports before they know where the receiver is) asks it nothing.
fn asking(address: Ipv4Addr) -> String {
    format!("{}q", chain(address))
}

/// Name of the chain that refuses what a container sends to others of its networks.
fn refusing(address: Ipv4Addr) -> String {
    format!("{}r", chain(address))
}

/// The inverse of [`set`]: `e<8 digits>n…`.
fn is_set_of_names(name: &str) -> bool {
    let digits = name.strip_prefix('e').and_then(|rest| rest.split_at_checked(8));
    digits.is_some_and(|(address, rest)| u32::from_str_radix(address, 16).is_ok() && rest.starts_with('n'))
}

impl Policy {
    /// Names of all sets of a container.
    pub(crate) fn sets(&self, address: Ipv4Addr) -> Vec<String> {
        let numbers = 0..self.names.len();
        numbers.flat_map(|number| [false, true].map(|is_ipv6| set(address, number, is_ipv6))).collect()
    }

    /// Whether an address can be reached whatever it is called.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|(base, prefix_length, _)| match (*base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                Subnet::new(base, *prefix_length).is_some_and(|subnet| subnet.offset(address).is_some())
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                Subnet6::new(base, *prefix_length).is_some_and(|subnet| subnet.contains(address))
            }
            _ => false,
        })
    }

    /// Numbers of the rules that allow a name in lower case.
    pub(crate) fn rules_of(&self, name: &str) -> Vec<usize> {
        let allows = |pattern: &str| match pattern.strip_prefix("*.") {
            Some(parent) => {
                name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => name == pattern,
        };
        (0..self.names.len()).filter(|index| allows(&self.names[*index].0)).collect()
    }

    /// The rules that put a policy into force.
    pub(crate) fn installation(&self, plan: &Plan, gateway_mac: [u8; 6]) -> String {
        let (table, address, port) = (PORTS.table, plan.address, device_name(plan.address));
        let chain = chain(address);
        let [gateway_mac, own_mac] =
            [gateway_mac, plan.mac].map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        let (sets, conditions) = self.conditions(address, false);
        let routed = verdicts(&conditions, "return");
        let bridged = verdicts(&conditions, "accept");
        // What an earlier container of this address may have left behind is not this one's.
        let mut text = self.emptied("ip", address, false);
        text.push_str(&self.emptied("bridge", address, false));
        text.push_str(&emptied_answers(address, plan.address6.is_some()));
        let (refusing, divert) = (refusing(address), divert(&gateway_mac));
        let (asking, own_answers) = (asking(address), answers(address, false));
        let answer_sets = answer_sets(address, plan.address6.is_some());
        let (mut sets6, mut bridged6, mut asking6) = (String::new(), String::new(), String::new());
        if let Some(address6) = plan.address6 {
            let conditions;
            (sets6, conditions) = self.conditions(address, true);
            let routed = verdicts(&conditions, "return");
            let answers = answers(address, true);
            text.push_str(&self.emptied("ip6", address, true));
            text.push_str(&self.emptied("bridge", address, true));
            bridged6 = format!(
                r"    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    ether daddr . ip6 daddr != @neighbours6 goto {refusing}
{}    meta l4proto tcp ip6 daddr . meta l4proto . tcp dport . tcp sport @{answers} accept
    meta l4proto udp ip6 daddr . meta l4proto . udp dport . udp sport @{answers} accept
    icmpv6 type {{ echo-reply, destination-unreachable, packet-too-big }} iifname . ip6 daddr @asked6 accept
",
                verdicts(&conditions, "accept")
            );
            asking6 = format!(
                r"    ether type ip6 meta l4proto tcp update @{answers} {{ ip6 saddr . meta l4proto . tcp sport . tcp dport timeout 2h }}
    ether type ip6 meta l4proto udp update @{answers} {{ ip6 saddr . meta l4proto . udp sport . udp dport timeout 3m }}
"
            );
            // A String takes everything.
            let _ = writeln!(
                text,
                "table ip6 {table} {{\n{sets6}  chain {chain} {{\n{routed}    goto refuse\n  }}\n}}\n\
                 add element ip6 {table} egress {{ {address6} : jump {chain} }}"
            );
        }
        let _ = write!(
            text,
            r#"table ip {table} {{
{sets}  chain {chain} {{
{routed}    goto refuse
  }}
}}
table bridge {table} {{
{sets}{sets6}{answer_sets}  chain {asking} {{
    ether daddr != {own_mac} return
    ip protocol tcp update @{own_answers} {{ ip saddr . ip protocol . tcp sport . tcp dport timeout 2h }}
    ip protocol udp update @{own_answers} {{ ip saddr . ip protocol . udp sport . udp dport timeout 3m }}
{asking6}    jump echo
  }}
  chain {refusing} {{
    jump refuse
{divert}  }}
  chain {chain} {{
    ether type arp accept
    ether daddr {gateway_mac} accept
{bridged6}    ether daddr . ip daddr != @neighbours goto {refusing}
{bridged}    ip protocol tcp ip daddr . ip protocol . tcp dport . tcp sport @{own_answers} accept
    ip protocol udp ip daddr . ip protocol . udp dport . udp sport @{own_answers} accept
    icmp type {{ echo-reply, destination-unreachable }} iifname . ip daddr @asked accept
    goto {refusing}
  }}
}}
add element ip {table} egress {{ {address} : jump {chain} }}
add element bridge {table} restricted {{ "{port}" : jump {asking} }}
add element bridge {table} egress {{ "{port}" : goto {chain} }}
"#
        );
        text
    }

    /// Chain and sets of a container in one table, without content.
    fn emptied(&self, family: &str, address: Ipv4Addr, is_ipv6: bool) -> String {
        let (table, chain) = (PORTS.table, chain(address));
        let (sets, _) = self.conditions(address, is_ipv6);
        let mut text = format!(
            "table {family} {table} {{\n{sets}  chain {chain} {{ }}\n}}\nflush chain {family} {table} {chain}\n"
        );
        for number in 0..self.names.len() {
            // A String takes everything.
            let _ = writeln!(text, "flush set {family} {table} {}", set(address, number, is_ipv6));
        }
        text
    }

    /// Sets of one family, and the conditions under which packets may go.
    fn conditions(&self, address: Ipv4Addr, is_ipv6: bool) -> (String, Vec<String>) {
        let (protocol, kind) = if is_ipv6 { ("ip6", "ipv6_addr") } else { ("ip", "ipv4_addr") };
        let mut sets = String::new();
        let of_family = self.subnets.iter().filter(|(base, ..)| base.is_ipv6() == is_ipv6);
        let mut conditions: Vec<String> = of_family
            .map(|(base, length, ports)| {
                format!("{protocol} daddr {base}/{length} {}", port_condition(*ports))
            })
            .collect();
        for (number, (_, ports)) in self.names.iter().enumerate() {
            let set = set(address, number, is_ipv6);
            conditions.push(format!("{protocol} daddr @{set} {}", port_condition(*ports)));
            // As above.
            let _ = writeln!(sets, "  set {set} {{ type {kind}; flags timeout; size {MAXIMUM_ADDRESSES}; }}");
        }
        (sets, conditions)
    }

    /// The rules that take it out of force.
    pub(crate) fn removal(&self, identity: &Identity) -> String {
        let (table, address) = (PORTS.table, identity.address);
        let (port, chain) = (device_name(address), chain(address));
        let mut text = format!(
            "delete element ip {table} egress {{ {address} }}\n\
             delete element bridge {table} egress {{ \"{port}\" }}\n\
             delete element bridge {table} restricted {{ \"{port}\" }}\n"
        );
        let mut families = vec![("ip", false)];
        if let Some(address6) = identity.address6 {
            let _ = writeln!(text, "delete element ip6 {table} egress {{ {address6} }}");
            families.push(("ip6", true));
        }
        let _ = writeln!(
            text,
            "delete chain bridge {table} {chain}\ndelete chain bridge {table} {}\ndelete chain bridge {table} {}",
            asking(address),
            refusing(address)
        );
        for (family, is_ipv6) in families {
            let _ = writeln!(text, "delete set bridge {table} {}", answers(address, is_ipv6));
            let _ = writeln!(text, "delete chain {family} {table} {chain}");
            for number in 0..self.names.len() {
                let set = set(address, number, is_ipv6);
                let _ = write!(text, "delete set {family} {table} {set}\ndelete set bridge {table} {set}\n");
            }
        }
        text
    }
}

/// What [`answer_sets`] makes without content, and so the chain that fills it and the one that refuses.
fn emptied_answers(address: Ipv4Addr, with_ipv6: bool) -> String {
    let (table, sets) = (PORTS.table, answer_sets(address, with_ipv6));
    let mut text = format!("table bridge {table} {{\n{sets}}}\n");
    for chain in [asking(address), refusing(address)] {
        // A String takes everything.
        let _ = write!(
            text,
            "table bridge {table} {{\n  chain {chain} {{ }}\n}}\nflush chain bridge {table} {chain}\n"
        );
    }
    for is_ipv6 in [Some(false), with_ipv6.then_some(true)].into_iter().flatten() {
        // A String takes everything.
        let _ = writeln!(text, "flush set bridge {table} {}", answers(address, is_ipv6));
    }
    text
}

/// Sets of what a container was asked, in the bridge table. One each: what is asked of one container must not
/// keep others from answering.
fn answer_sets(address: Ipv4Addr, with_ipv6: bool) -> String {
    let set = |is_ipv6: bool| {
        let kind = if is_ipv6 { "ipv6_addr" } else { "ipv4_addr" };
        format!(
            "  set {} {{ type {kind} . inet_proto . inet_service . inet_service; flags dynamic, timeout; \
             size {MAXIMUM_ANSWERS}; }}\n",
            answers(address, is_ipv6)
        )
    };
    [Some(false), with_ipv6.then_some(true)].into_iter().flatten().map(set).collect()
}

fn verdicts(conditions: &[String], verdict: &str) -> String {
    conditions.iter().map(|condition| format!("    {condition} {verdict}\n")).collect()
}

fn port_condition(ports: Option<PortSpan>) -> String {
    match ports {
        Some(PortSpan { first, last }) => format!("meta l4proto {{ tcp, udp }} th dport {first}-{last}"),
        None => String::new(),
    }
}

/// Whether a name may stand for this address: not for what belongs to the host or to nobody (a name's owner
/// says what is behind it).
pub(crate) fn may_stand_behind_a_name(address: IpAddr) -> bool {
    // One that stands for an IPv4 address would be judged as neither.
    is_of_one_host(address) && !matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use bulkhead_network_control::EgressRule;

    use super::*;

    fn policy(names: &[&str]) -> Result<Policy, Failure> {
        let allow = names.iter().map(|name| EgressRule {
            target: EgressTarget::Name { name: (*name).to_owned() },
            ports: Some(PortSpan { first: 443, last: 443 }),
        });
        Policy::try_from(EgressPolicy { allow: allow.collect() })
    }

    #[test]
    fn wildcards_stand_for_what_is_below() {
        let policy = policy(&["Example.org", "*.example.org", "other.net"]).unwrap();
        assert_eq!(policy.rules_of("example.org"), [0]);
        assert_eq!(policy.rules_of("a.b.example.org"), [1]);
        for name in ["badexample.org", ".example.org", "example.org.evil", "org", ""] {
            assert!(policy.rules_of(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn nothing_from_outside_becomes_part_of_a_rule() {
        for bad in ["", "*", "*.", "a b", "a;drop", "a\"", "*.*.x", &"x".repeat(300)] {
            assert!(policy(&[bad]).is_err(), "{bad}");
        }
        let plan = Plan {
            bridge_index: 1,
            address: [192, 168, 64, 2].into(),
            address6: "fd00::2".parse().ok(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1280,
        };
        let text = policy(&["evil.example"]).unwrap().installation(&plan, [2, 0xb8, 0, 0, 0, 1]);
        assert!(!text.contains("evil") && text.contains("th dport 443-443"), "{text}");
    }

    #[test]
    fn nothing_of_an_earlier_policy_stays() {
        let address = [192, 168, 64, 2].into();
        let plan = Plan {
            bridge_index: 1,
            address,
            address6: "fd00::2".parse().ok(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1280,
        };
        let text = policy(&["a.example", "b.example"]).unwrap().installation(&plan, [2, 0xb8, 0, 0, 0, 1]);
        let first_rule = text.find("goto refuse").unwrap();
        for emptied in ["ip", "bridge"].into_iter().flat_map(|family| {
            let chain = format!("flush chain {family} {} {}\n", PORTS.table, chain(address));
            let sets = (0..2).map(move |rule| {
                format!("flush set {family} {} {}\n", PORTS.table, set(address, rule, false))
            });
            sets.chain([chain])
        }) {
            assert!(text.find(&emptied).is_some_and(|place| place < first_rule), "{emptied} in {text}");
        }
        let chain = format!("flush chain ip6 {} {}\n", PORTS.table, chain(address));
        assert!(text.contains(&chain), "{text}");
    }
}
