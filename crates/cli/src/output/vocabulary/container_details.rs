//! Containers in `inspect`, with the paths of Docker that scripts ask for.

use bulkhead_api::container::{
    ContainerSnapshot, ContainerState, Mount, MountKind, NetworkConfiguration, NetworkStatus, PublishedPort,
};
use bulkhead_api::health::{HealthCheck, HealthCheckResult, HealthStatus};
use bulkhead_paths::Directories;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::container::image_name;
use super::{Templated, host_configuration};
use crate::values::filter::container::Status;

/// Go's earliest time, which Docker tells of what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container whose words are those of `docker inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ContainerDetails(pub(crate) ContainerSnapshot);

impl Templated for ContainerDetails {
    fn examples() -> Vec<Self> {
        ContainerSnapshot::examples().into_iter().map(Self).collect()
    }

    fn words(&self) -> Value {
        let Self(container) = self;
        let (configuration, status) = (&container.configuration, &container.status);
        let process = &configuration.init_process;
        let mut entrypoint = vec![process.executable.as_str()];
        entrypoint.extend(process.arguments.iter().map(String::as_str));
        let command = entrypoint.split_off(configuration.entrypoint_words.min(entrypoint.len()));
        let wanted = configuration.networks.iter().map(|wanted| {
            let joined = status.networks.iter().find(|network| network.network == wanted.network);
            (wanted.network.clone(), of_network(&container.id, wanted, joined))
        });
        let networks: Map<String, Value> = wanted.collect();
        let first = status.networks.first();
        let mut state = json!({
            "Status": Status::of(container).docker_word(),
            "Running": matches!(status.state, ContainerState::Running | ContainerState::Stopping),
            "Paused": status.paused,
            "Restarting": status.restarting,
            "OOMKilled": status.oom_killed,
            "Dead": false,
            "Pid": status.machine.as_ref().map_or(0, |machine| machine.pid),
            "ExitCode": status.exit_code.unwrap_or(0),
            "Error": status.reason,
            "StartedAt": status.started_date.as_deref().unwrap_or(NEVER),
            "FinishedAt": status.finished_date.as_deref().unwrap_or(NEVER),
        });
        // As in Docker, it is there only where health is checked: `{{if .State.Health}}`.
        if let (Some(health), Some(state)) = (&status.health, state.as_object_mut()) {
            state.insert("Health".to_owned(), of_health(health));
        }
        let mut details = json!({
            "Id": container.id,
            "Name": format!("/{}", container.id),
            "Created": configuration.creation_date,
            "Path": process.executable,
            "Args": process.arguments,
            "Image": configuration.image.descriptor.digest,
            "Platform": configuration.platform.os,
            "LogPath": log_path(container),
            // What docker-bench-security and the like ask: nothing of the host confines it but its machine.
            "AppArmorProfile": "",
            "RestartCount": status.restart_count,
            "State": state,
            "NetworkSettings": {
                "IPAddress": first.map(|network| address(&network.ipv4_address)).unwrap_or_default(),
                "IPPrefixLen": first.map_or(0, |network| prefix(&network.ipv4_address)),
                "Gateway": first.map_or("", |network| &network.ipv4_gateway),
                "GlobalIPv6Address": first.and_then(|network| network.ipv6_address.as_deref()).map(address),
                "GlobalIPv6PrefixLen": first.and_then(|network| network.ipv6_address.as_deref()).map_or(0, prefix),
                "MacAddress": first.and_then(|network| network.mac_address.as_deref()),
                "Ports": ports(&status.published_ports),
                "Networks": networks,
            },
            "Config": {
                "Domainname": configuration.sysctls.get("kernel.domainname").map_or("", String::as_str),
                "Entrypoint": entrypoint,
                "Volumes": anonymous_volumes(&configuration.mounts),
                "Hostname": configuration.hostname.as_deref().unwrap_or(&container.id),
                "Image": image_name(&configuration.image.reference),
                "Env": process.environment,
                "Cmd": command,
                "ExposedPorts": exposed_ports(&configuration.published_ports),
                "WorkingDir": process.working_directory,
                "User": process.user.specification(),
                "Labels": configuration.labels,
                "Tty": process.terminal,
                "OpenStdin": configuration.interactive,
                "StopSignal": configuration.stop_signal,
                "StopTimeout": configuration.stop_timeout_seconds,
            },
            "HostConfig": host_configuration::of(configuration),
            "Mounts": configuration.mounts.iter().map(of_mount).collect::<Vec<_>>(),
        });
        // As `.State.Health`.
        if let (Some(check), Some(words)) = (&configuration.health_check, details["Config"].as_object_mut()) {
            words.insert("Healthcheck".to_owned(), HealthCheck::docker_document(check));
        }
        details
    }
}

/// Empty where nothing is kept.
fn log_path(container: &ContainerSnapshot) -> String {
    let is_kept = !container.configuration.log.keeps_nothing();
    let directories = Directories::from_environment().ok().filter(|_| is_kept);
    let path = directories.map(|directories| directories.container(&container.id).log());
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// That of the example stands for any.
pub(super) fn place(mount: &Mount) -> String {
    if mount.destination.is_empty() { crate::template::ANY_KEY.to_owned() } else { mount.destination.clone() }
}

/// `{"/data": {}}`
fn anonymous_volumes(mounts: &[Mount]) -> Map<String, Value> {
    let is_anonymous = |mount: &&Mount| matches!(mount.kind, MountKind::Volume { anonymous: true, .. });
    mounts.iter().filter(is_anonymous).map(|mount| (place(mount), json!({}))).collect()
}

fn of_health(health: &HealthStatus) -> Value {
    let result = |result: &HealthCheckResult| {
        json!({
            "Start": result.start,
            "End": result.end,
            "ExitCode": result.exit_code,
            "Output": result.output,
        })
    };
    json!({
        "Status": health.status.as_str(),
        "FailingStreak": health.failing_streak,
        "Log": health.log.iter().map(result).collect::<Vec<_>>(),
    })
}

/// Without the length of its prefix.
fn address(text: &str) -> String {
    text.split('/').next().unwrap_or_default().to_owned()
}

/// 0 where there is none.
fn prefix(text: &str) -> u8 {
    text.split_once('/').and_then(|(_, prefix)| prefix.parse().ok()).unwrap_or(0)
}

/// Of a container that does not run, the keys are there and empty.
fn of_network(id: &str, wanted: &NetworkConfiguration, network: Option<&NetworkStatus>) -> Value {
    let options = &wanted.options;
    let ipv6 = network.and_then(|network| network.ipv6_address.as_deref());
    let mut names = vec![id];
    let further = std::iter::once(&options.hostname).chain(&options.aliases).map(String::as_str);
    names.extend(further.filter(|name| !name.is_empty() && *name != id));
    json!({
        "NetworkID": wanted.network,
        "Aliases": options.aliases,
        "DNSNames": names,
        "IPAMConfig": {"IPv4Address": options.ipv4_address, "IPv6Address": options.ipv6_address},
        "IPAddress": network.map(|network| address(&network.ipv4_address)),
        "IPPrefixLen": network.map_or(0, |network| prefix(&network.ipv4_address)),
        "Gateway": network.map(|network| &network.ipv4_gateway),
        "GlobalIPv6Address": ipv6.map(address),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, prefix),
        "MacAddress": network.and_then(|network| network.mac_address.as_ref()),
    })
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`
pub(super) fn ports(ranges: &[PublishedPort]) -> Map<String, Value> {
    let mut ports = Map::new();
    for range in ranges {
        for offset in 0..range.count.max(1) {
            let name = port_name(range, offset);
            let host_port = match range.host_port {
                // To be chosen by the start.
                0 => String::new(),
                first => first.saturating_add(offset).to_string(),
            };
            let host = json!({"HostIp": range.host_address, "HostPort": host_port});
            if let Value::Array(hosts) = ports.entry(name).or_insert_with(|| json!([])) {
                hosts.push(host);
            }
        }
    }
    ports
}

/// `{"80/tcp": {}}`
fn exposed_ports(ranges: &[PublishedPort]) -> Map<String, Value> {
    let offsets = |range: &PublishedPort| 0..range.count.max(1);
    let all = ranges.iter().flat_map(|range| offsets(range).map(|offset| port_name(range, offset)));
    all.map(|name| (name, json!({}))).collect()
}

/// A number of the example stands for any.
fn port_name(range: &PublishedPort, offset: u16) -> String {
    match range.container_port {
        0 => crate::template::ANY_KEY.to_owned(),
        first => format!("{}/{}", first.saturating_add(offset), range.proto),
    }
}

fn of_mount(mount: &Mount) -> Value {
    let (kind, name) = match &mount.kind {
        MountKind::Volume { name, .. } => ("volume", name.as_str()),
        MountKind::Virtiofs {} => ("bind", ""),
        MountKind::Tmpfs {} => ("tmpfs", ""),
    };
    json!({
        "Type": kind,
        "Name": name,
        "Source": mount.source,
        "Destination": mount.destination,
        "Driver": if kind == "volume" { "local" } else { "" },
        // What is mounted on the host later does not show in a machine that runs.
        "Propagation": if kind == "bind" { "rprivate" } else { "" },
        "Mode": mount.options.join(","),
        "RW": !mount.options.iter().any(|option| option == "ro"),
    })
}
