//! What Docker's `inspect` calls `HostConfig`: what a container has of its host, as it was asked for.

use bulkhead_api::container::{ContainerConfiguration, Device, ExtraHost, Mount, MountKind};
use bulkhead_api::log::LogConfiguration;
use bulkhead_api::process::ResourceLimit;
use serde_json::{Map, Value, json};

use super::container_details::{place, ports};

/// Docker counts processor time in billionths.
const NANOSECONDS_PER_HUNDREDTH: u64 = 10_000_000;

pub(super) fn of(configuration: &ContainerConfiguration) -> Value {
    let policy = configuration.restart_policy.to_string();
    let (policy, retries) = policy.split_once(':').unwrap_or((&policy, "0"));
    let dns = configuration.dns.as_ref();
    json!({
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": retries.parse().unwrap_or(0_u32)},
        "Memory": configuration.resources.memory_in_bytes,
        "NanoCpus": configuration.resources.cpu_limit_percent().saturating_mul(NANOSECONDS_PER_HUNDREDTH),
        "LogConfig": of_log(&configuration.log),
        "CgroupParent": "",
        "CgroupnsMode": "private",
        "CpuQuota": configuration.resources.cpu_percent.map_or(0, |percent| percent.saturating_mul(1000)),
        "CpuShares": 0,
        "CpusetCpus": "",
        "Devices": configuration.devices.iter().map(|device| of_device(*device)).collect::<Vec<_>>(),
        "IpcMode": "private",
        "MemoryReservation": 0,
        // Docker counts memory and swap together, and a machine has no swap.
        "MemorySwap": configuration.resources.memory_in_bytes,
        "OomKillDisable": false,
        "PidMode": "",
        "SecurityOpt": security_options(configuration),
        "Tmpfs": tmpfs(&configuration.mounts),
        "UTSMode": "",
        "UsernsMode": "",
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

fn of_device(device: Device) -> Value {
    json!({"PathOnHost": device.path(), "PathInContainer": device.path(), "CgroupPermissions": "rwm"})
}

fn security_options(configuration: &ContainerConfiguration) -> Vec<&'static str> {
    configuration.no_new_privileges.then_some("no-new-privileges").into_iter().collect()
}

/// `{"/tmp": "size=1m"}`
fn tmpfs(mounts: &[Mount]) -> Map<String, Value> {
    let memory = mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Tmpfs {}));
    memory.map(|mount| (place(mount), mount.options.join(",").into())).collect()
}

fn of_log(log: &LogConfiguration) -> Value {
    let size = log.maximum_file_bytes.map(|bytes| ("max-size", spelled(bytes)));
    let count = log.maximum_files.map(|count| ("max-file", count.to_string()));
    let asked: Map<String, Value> =
        size.into_iter().chain(count).map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({"Type": log.driver.as_str(), "Config": asked})
}

/// As people write sizes: `10m`.
fn spelled(bytes: u64) -> String {
    [(30, "g"), (20, "m"), (10, "k")]
        .into_iter()
        .find(|(shift, _)| bytes.trailing_zeros() >= *shift && bytes > 0)
        .map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
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
