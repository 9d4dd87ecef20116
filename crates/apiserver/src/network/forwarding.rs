//! What of the host keeps the containers of root from the world outside: a chain that drops what it does not
//! know, as Docker's and ufw's do (a verdict of our own table does not overrule it), and IPv6 that is not
//! forwarded.

use std::process::Stdio;
use std::time::Duration;

use bulkhead_api::system::{Advice, NetworkSupport};
use tokio::process::Command;
use tokio::time::timeout;

use super::ipv6_forwarding;

/// nft answers at once.
const LIMIT: Duration = Duration::from_secs(2);
/// First letters of our devices on the host.
const UPLINKS: &str = "bhu*";

/// Looks at the host, also at its IPv6 if containers are to have that; `None` if nothing is in the way, or it
/// cannot be told.
pub(crate) async fn support(with_ipv6: bool) -> Option<NetworkSupport> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let of_ipv6 = with_ipv6.then(ipv6_forwarding::advice).flatten();
    let advice: Vec<Advice> = rules().await.into_iter().chain(of_ipv6).collect();
    (!advice.is_empty()).then(|| NetworkSupport { mode: "root".to_owned(), limits: Vec::new(), advice })
}

/// Rules of others that are in the way.
async fn rules() -> Option<Advice> {
    let mut command = Command::new(super::rootless::program("nft"));
    command.args(["list", "table", "ip", "filter"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = timeout(LIMIT, command.kill_on_drop(true).output()).await.ok()?.ok()?;
    let chain = dropping_chain(&String::from_utf8_lossy(&output.stdout))?;
    Some(Advice {
        problem: format!(
            "chain {chain} of this host's table 'ip filter' drops what it does not know: containers may reach \
             no other host."
        ),
        remedy: format!(
            "nft insert rule ip filter {chain} iifname '{UPLINKS}' accept; nft insert rule ip filter {chain} \
             oifname '{UPLINKS}' ct state established,related accept"
        ),
    })
}

/// A chain that drops forwarded packets by its policy and does not know our devices.
fn dropping_chain(table: &str) -> Option<String> {
    let mut name = "";
    let mut drops = false;
    for line in table.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("chain ") {
            name = rest.trim_end_matches(" {");
            drops = false;
        } else if line.contains(" hook forward ") {
            drops = line.ends_with("policy drop;");
        } else if line.contains(&format!("\"{UPLINKS}\"")) {
            drops = false;
        } else if line == "}" && drops {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            return is_plain.then(|| name.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f77_a_chain_that_drops_what_is_forwarded_is_found() {
        let table = |policy: &str, rule: &str| {
            format!(
                "table ip filter {{\n\tchain INPUT {{\n\t\ttype filter hook input priority filter; policy \
                 drop;\n\t}}\n\n\tchain FORWARD {{\n\t\ttype filter hook forward priority filter; policy \
                 {policy};\n\t\t{rule}\n\t}}\n}}\n"
            )
        };
        let other = "iifname \"docker0\" accept";
        assert_eq!(dropping_chain(&table("drop", other)).as_deref(), Some("FORWARD"));
        assert_eq!(dropping_chain(&table("accept", other)), None);
        assert_eq!(dropping_chain(&table("drop", "iifname \"bhu*\" accept")), None);
        assert_eq!(dropping_chain(""), None);
    }
}
