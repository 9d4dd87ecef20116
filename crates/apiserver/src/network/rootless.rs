//! What networks of an ordinary user need of this host, and what they cannot do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bulkhead_api::system::{Advice, NetworkSupport};

/// Leads containers out.
const PROGRAM: &str = "slirp4netns";
/// By which it does.
const TUNNEL_DEVICE: &str = "/dev/net/tun";
const FIRST_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const PING_GROUPS: &str = "net.ipv4.ping_group_range";
/// Where programs are that PATH does not lead to; container-network looks there, too.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// Looks at the host; `None` for root, who needs nothing and may do all.
pub(crate) fn support() -> Option<NetworkSupport> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let first_port = fs::read_to_string(FIRST_PORT).ok().and_then(|text| text.trim().parse().ok());
    let first_port: u16 = first_port.unwrap_or(1024);
    let mut limits = vec![
        "connections of containers to other hosts are made by slirp4netns, which does not ping by IPv6"
            .to_owned(),
    ];
    if first_port > 0 {
        limits.push(format!("host ports below {first_port} cannot be published"));
    }
    if !may_ping() {
        limits.push(format!(
            "containers cannot ping other hosts: sysctl -w {PING_GROUPS}=\"0 2147483647\" lets them"
        ));
    }
    Some(NetworkSupport { mode: "rootless".to_owned(), limits, advice: advice() })
}

/// icmp(7): slirp4netns pings as a program of the user.
fn may_ping() -> bool {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let bounds: Vec<u32> = range.split_whitespace().filter_map(|bound| bound.parse().ok()).collect();
    matches!(bounds[..], [first, last] if (first..=last).contains(&rustix::process::getegid().as_raw()))
}

fn advice() -> Vec<Advice> {
    let lost = "containers reach each other and are reached at published ports, but they reach no other host";
    let mut advice = Vec::new();
    if !is_installed(PROGRAM) {
        advice.push(Advice {
            problem: format!("{PROGRAM} is not installed: {lost}."),
            remedy: format!("sudo apt-get install {PROGRAM}"),
        });
    }
    if let Err(error) = File::options().read(true).write(true).open(TUNNEL_DEVICE) {
        let remedy = match Path::new(TUNNEL_DEVICE).exists() {
            true => format!("sudo chmod 0666 {TUNNEL_DEVICE}"),
            false => "sudo modprobe tun".to_owned(),
        };
        advice
            .push(Advice { problem: format!("{TUNNEL_DEVICE} cannot be opened ({error}): {lost}."), remedy });
    }
    advice
}

fn is_installed(program: &str) -> bool {
    self::program(program).is_file()
}

/// Where a program is; its bare name if that is nowhere.
pub(super) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()));
    found.unwrap_or_else(|| PathBuf::from(name))
}
