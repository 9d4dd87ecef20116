//! Tells systemd-resolved which names our server answers, by resolvectl(1). The settings belong to the
//! host's end of our uplink: nothing is written to the host's configuration, and they go with the device.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Of systemd-resolved, while it runs.
const RUNTIME_FOLDER: &str = "/run/systemd/resolve";
/// It answers at once, or its bus does not work.
const LIMIT: Duration = Duration::from_secs(5);

/// To be called in the host's namespace. False if the host has another resolver, or it refuses.
pub(crate) async fn tell(device: &str, server: Option<SocketAddrV4>, domains: &[String]) -> bool {
    if !Path::new(RUNTIME_FOLDER).is_dir() {
        return false;
    }
    for arguments in commands(device, server, domains) {
        let mut command = Command::new("resolvectl");
        command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match timeout(LIMIT, command.kill_on_drop(true).status()).await {
            Ok(Ok(status)) if status.success() => {}
            outcome => {
                tracing::warn!(?arguments, ?outcome, "cannot tell systemd-resolved of domains");
                return false;
            }
        }
    }
    true
}

fn commands(device: &str, server: Option<SocketAddrV4>, domains: &[String]) -> Vec<Vec<String>> {
    let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let Some(server) = server else { return vec![command(&["revert", device])] };
    let server = if server.port() == super::PORT { server.ip().to_string() } else { server.to_string() };
    let mut names = command(&["domain", device]);
    // "~": these names are asked for here, and no single label is completed with them.
    names.extend(domains.iter().map(|domain| format!("~{domain}")));
    vec![
        command(&["dns", device, &server]),
        names,
        // All other names stay where they are asked for today.
        command(&["default-route", device, "false"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_device_and_our_domains_are_told() {
        let server = |port| Some(SocketAddrV4::new([100, 127, 192, 1].into(), port));
        let words = |port| commands("bhu0", server(port), &["test".to_owned()]).concat().join(" ");
        assert_eq!(words(53), "dns bhu0 100.127.192.1 domain bhu0 ~test default-route bhu0 false");
        assert!(words(2053).starts_with("dns bhu0 100.127.192.1:2053 "));
        assert_eq!(commands("bhu0", None, &[]).concat(), ["revert", "bhu0"]);
    }
}
