//! What Docker's `inspect` calls `HostConfig`: what a container has of its host, as it was asked for.

use bulkhead_api::container::{ContainerConfiguration, ExtraHost, Mount, MountKind};
use bulkhead_api::process::ResourceLimit;
use serde_json::{Value, json};

use super::container_details::ports;

/// Docker counts processor time in billionths.
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

pub(super) fn of(configuration: &ContainerConfiguration) -> Value {
    let policy = configuration.restart_policy.to_string();
    let (policy, retries) = policy.split_once(':').unwrap_or((&policy, "0"));
    let dns = configuration.dns.as_ref();
    json!({
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": retries.parse().unwrap_or(0_u32)},
        "Memory": configuration.resources.memory_in_bytes,
        "NanoCpus": u64::from(configuration.resources.cpus).saturating_mul(NANOSECONDS_PER_SECOND),
        "PidsLimit": configuration.pids_limit,
        "ShmSize": configuration.shm_size,
        "Ulimits": configuration.init_process.rlimits.iter().map(of_limit).collect::<Vec<_>>(),
        "Privileged": configuration.privileged,
        "CapAdd": configuration.cap_add,
        "CapDrop": configuration.cap_drop,
        "MaskedPaths": configuration.masked_paths,
        "ReadonlyPaths": configuration.readonly_paths,
        "Sysctls": configuration.sysctls,
        "Init": configuration.use_init,
        "AutoRemove": configuration.auto_remove,
        "ReadonlyRootfs": configuration.read_only,
        "Runtime": configuration.runtime_handler,
        "Binds": configuration.mounts.iter().filter_map(of_bind).collect::<Vec<_>>(),
        "NetworkMode": configuration.networks.first().map_or("none", |network| &network.network),
        "PortBindings": ports(&configuration.published_ports),
        "Dns": dns.map(|dns| &dns.nameservers),
        "DnsSearch": dns.map(|dns| &dns.search_domains),
        "DnsOptions": dns.map(|dns| &dns.options),
        "ExtraHosts": configuration.extra_hosts.iter().map(of_host).collect::<Vec<_>>(),
    })
}

fn of_limit(limit: &ResourceLimit) -> Value {
    let name = limit.limit.strip_prefix("RLIMIT_").unwrap_or(&limit.limit).to_lowercase();
    json!({"Name": name, "Soft": limit.soft, "Hard": limit.hard})
}

fn of_host(host: &ExtraHost) -> String {
    format!("{}:{}", host.name, host.address)
}

/// `source:destination`, then options; of folders and of volumes with a name.
fn of_bind(mount: &Mount) -> Option<String> {
    let source = match &mount.kind {
        MountKind::Virtiofs {} => &mount.source,
        MountKind::Volume { name, anonymous: false, .. } => name,
        MountKind::Volume { .. } | MountKind::Tmpfs {} => return None,
    };
    let options = mount.options.join(",");
    let separator = if options.is_empty() { "" } else { ":" };
    Some(format!("{source}:{}{separator}{options}", mount.destination))
}
