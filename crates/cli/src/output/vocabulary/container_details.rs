//! Containers in `inspect`, with the paths of Docker that scripts ask for.

use bulkhead_api::container::{ContainerSnapshot, ContainerState, Mount, MountKind, NetworkStatus};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Templated;
use super::container::image_name;
use crate::values::container_filter::Status;

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
        let mut command = vec![process.executable.as_str()];
        command.extend(process.arguments.iter().map(String::as_str));
        let wanted = configuration.networks.iter().map(|wanted| {
            let joined = status.networks.iter().find(|network| network.network == wanted.network);
            (wanted.network.clone(), of_network(joined))
        });
        let networks: Map<String, Value> = wanted.collect();
        let address = status.networks.first().map(|network| address(&network.ipv4_address));
        let policy = configuration.restart_policy.to_string();
        let (policy, retries) = policy.split_once(':').unwrap_or((&policy, "0"));
        let mut state = json!({
            "Status": Status::of(container).docker_word(),
            "Running": status.state == ContainerState::Running,
            "Paused": status.paused,
            "Restarting": status.restarting,
            "OOMKilled": status.oom_killed,
            "ExitCode": status.exit_code.unwrap_or(0),
            "Error": status.reason,
            "StartedAt": status.started_date,
            "FinishedAt": status.finished_date,
        });
        // As in Docker, it is there only where health is checked: `{{if .State.Health}}`.
        if let (Some(health), Some(state)) = (&status.health, state.as_object_mut()) {
            let words = json!({"Status": health.status.as_str(), "FailingStreak": health.failing_streak});
            state.insert("Health".to_owned(), words);
        }
        json!({
            "Id": container.id,
            "Name": format!("/{}", container.id),
            "Created": configuration.creation_date,
            "Path": process.executable,
            "Args": process.arguments,
            "Image": configuration.image.descriptor.digest,
            "RestartCount": status.restart_count,
            "State": state,
            "NetworkSettings": {
                "IPAddress": address.unwrap_or_default(),
                "Gateway": status.networks.first().map_or("", |network| &network.ipv4_gateway),
                "MacAddress": status.networks.first().and_then(|network| network.mac_address.as_deref()),
                "Ports": ports(container),
                "Networks": networks,
            },
            "Config": {
                "Hostname": configuration.hostname.as_deref().unwrap_or(&container.id),
                "Image": image_name(&configuration.image.reference),
                "Env": process.environment,
                "Cmd": command,
                "WorkingDir": process.working_directory,
                "User": process.user.specification(),
                "Labels": configuration.labels,
                "Tty": process.terminal,
                "StopSignal": configuration.stop_signal,
            },
            "HostConfig": {
                "RestartPolicy": {"Name": policy, "MaximumRetryCount": retries.parse().unwrap_or(0_u32)},
                "Memory": configuration.resources.memory_in_bytes,
                "Privileged": configuration.privileged,
                "AutoRemove": configuration.auto_remove,
                "ReadonlyRootfs": configuration.read_only,
                "NetworkMode": configuration.networks.first().map_or("none", |network| &network.network),
            },
            "Mounts": configuration.mounts.iter().map(of_mount).collect::<Vec<_>>(),
        })
    }
}

/// Without the length of its prefix.
fn address(text: &str) -> String {
    text.split('/').next().unwrap_or_default().to_owned()
}

/// Of a container that does not run, the keys are there and empty.
fn of_network(network: Option<&NetworkStatus>) -> Value {
    let prefix = |text: &str| text.split_once('/').and_then(|(_, prefix)| prefix.parse::<u8>().ok());
    json!({
        "IPAddress": network.map(|network| address(&network.ipv4_address)),
        "IPPrefixLen": network.and_then(|network| prefix(&network.ipv4_address)),
        "Gateway": network.map(|network| &network.ipv4_gateway),
        "GlobalIPv6Address": network.and_then(|network| network.ipv6_address.as_deref()).map(address),
        "MacAddress": network.and_then(|network| network.mac_address.as_ref()),
    })
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`
fn ports(container: &ContainerSnapshot) -> Map<String, Value> {
    let mut ports = Map::new();
    for range in &container.status.published_ports {
        for offset in 0..range.count.max(1) {
            // A number of the example stands for any.
            let name = match range.container_port {
                0 => crate::template::ANY_KEY.to_owned(),
                first => format!("{}/{}", first.saturating_add(offset), range.proto),
            };
            let host_port = range.host_port.saturating_add(offset).to_string();
            let host = json!({"HostIp": range.host_address, "HostPort": host_port});
            if let Value::Array(hosts) = ports.entry(name).or_insert_with(|| json!([])) {
                hosts.push(host);
            }
        }
    }
    ports
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
        "Mode": mount.options.join(","),
        "RW": !mount.options.iter().any(|option| option == "ro"),
    })
}
