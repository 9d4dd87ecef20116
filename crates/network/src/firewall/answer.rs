//! How those are answered whose packets are refused: programs wait minutes for what nobody says no to.
//!
//! All refusals are alike, whatever is behind them. TCP is told by a reset, which unlike ICMP programs hear in
//! every state and the kernel does not hold to one a second. Who is answered is known to have sent the packet;
//! beyond a limit packets are dropped, which costs less.

use crate::netlink::filter::Family;

/// On what a policy refused on its way to a neighbour: bridges do not answer everywhere, so it is led to the
/// gateway, whose tables do.
pub(crate) const REFUSED_MARK: u32 = 3;

/// Answers to one container in a second, and at once.
const ANSWERS: u32 = 200;
/// Answers to all containers together in a second, and at once, by the host: it cannot tell them apart.
const HOST_ANSWERS: u32 = 1000;

/// Chain `answer` of a table whose packets are still their containers'.
pub(crate) fn answer(family: Family) -> String {
    let (protocol, kind, icmp) = words(family);
    let within = format!(
        "update @answered {{ {protocol} saddr limit rate {ANSWERS}/second burst {ANSWERS} packets }}"
    );
    format!(
        r"  set answered {{ type {kind}; flags dynamic, timeout; size 65536; timeout 10s; }}
  chain answer {{
    meta l4proto tcp {within} reject with tcp reset
    meta l4proto != tcp {within} reject with {icmp} type admin-prohibited
    drop
  }}
"
    )
}

/// Chain `refused` of the same table, for what bears [`REFUSED_MARK`].
pub(crate) fn refused() -> String {
    format!(
        r"  chain refused {{
    type filter hook prerouting priority raw; policy accept;
    meta mark {REFUSED_MARK} goto answer
  }}
"
    )
}

/// Chain `answer` of a table of the host.
pub(crate) fn host_answer(family: Family) -> String {
    let (.., icmp) = words(family);
    format!(
        r"  chain answer {{
    limit rate over {HOST_ANSWERS}/second burst {HOST_ANSWERS} packets drop
    meta l4proto tcp reject with tcp reset
    reject with {icmp} type admin-prohibited
  }}
"
    )
}

/// Leads what a policy refused to a gateway that answers it; calls to everybody are not answered.
pub(crate) fn divert(gateway_mac: &str) -> String {
    let within =
        format!("update @answered {{ iifname limit rate {ANSWERS}/second burst {ANSWERS} packets }}");
    format!(
        "    ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 drop\n    ether type {{ ip, ip6 }} {within} \
         meta mark set {REFUSED_MARK} meta pkttype set host ether daddr set {gateway_mac} accept\n    drop\n"
    )
}

fn words(family: Family) -> (&'static str, &'static str, &'static str) {
    match family {
        Family::Ipv6 => ("ip6", "ipv6_addr", "icmpv6"),
        _ => ("ip", "ipv4_addr", "icmp"),
    }
}
