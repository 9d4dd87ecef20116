//! Containers in lists.

use bulkhead_api::container::{
    CacheMode, ContainerConfiguration, ContainerSnapshot, ContainerState, ContainerStatus, Descriptor,
    Device, DnsConfiguration, ExtraHost, ImageDescription, MachineStatus, Mount, MountKind,
    NetworkConfiguration, NetworkOptions, NetworkStatus, Platform, PublishedPort, PublishedSocket, Resources,
    SyncMode,
};
use bulkhead_api::egress::EgressPolicy;
use bulkhead_api::health::{HealthCheck, HealthCheckResult, HealthState, HealthStatus};
use bulkhead_api::log::{LogConfiguration, LogDriver};
use bulkhead_api::process::{ProcessConfiguration, ResourceLimit, User};
use bulkhead_api::restart::RestartPolicy;
use serde_json::{Value, json};

use super::{Templated, any_keys, pairs, time};
use crate::output::images;
use crate::template::ANY_KEY;
use crate::values::filter::container::Status;

impl Templated for ContainerSnapshot {
    fn examples() -> Vec<Self> {
        let named = Self { id: String::new(), configuration: configuration(), status: status() };
        let mut numbered = named.clone();
        numbered.configuration.init_process.user = User::Id { uid: 0, gid: 0 };
        vec![named, numbered]
    }

    fn words(&self) -> Value {
        let configuration = &self.configuration;
        let networks: Vec<&str> =
            configuration.networks.iter().map(|network| network.network.as_str()).collect();
        let mounts: Vec<&str> = configuration.mounts.iter().map(mount_name).collect();
        json!({
            "ID": self.id,
            "Names": self.id,
            "Image": image_name(&configuration.image.reference),
            "Command": format!("\"{}\"", command(&configuration.init_process)),
            "CreatedAt": time::date(&configuration.creation_date),
            "RunningFor": time::ago(&configuration.creation_date),
            "State": Status::of(self).docker_word(),
            "Status": sentence(self),
            "Ports": ports(self),
            "Labels": pairs(&configuration.labels),
            "Label": configuration.labels,
            "Networks": networks.join(","),
            "Mounts": mounts.join(","),
        })
    }
}

/// As users call it.
pub(super) fn image_name(reference: &str) -> String {
    match images::name_and_tag(reference) {
        (name, tag) if tag == images::NO_TAG => name,
        (name, tag) => format!("{name}:{tag}"),
    }
}

/// The volume, or the folder of the host.
fn mount_name(mount: &Mount) -> &str {
    match &mount.kind {
        MountKind::Volume { name, .. } => name,
        MountKind::Virtiofs {} => &mount.source,
        MountKind::Tmpfs {} => &mount.destination,
    }
}

/// The words of the command line.
fn command(process: &ProcessConfiguration) -> String {
    let mut words = vec![process.executable.as_str()];
    words.extend(process.arguments.iter().map(String::as_str));
    words.join(" ")
}

/// `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`
fn sentence(container: &ContainerSnapshot) -> String {
    let status = &container.status;
    let code = status.exit_code.unwrap_or(0);
    let ended = time::ago(status.finished_date.as_deref().unwrap_or_default());
    let health = match status.health.as_ref().map(|health| health.status) {
        Some(HealthState::Starting) => " (health: starting)",
        Some(HealthState::Healthy) => " (healthy)",
        Some(HealthState::Unhealthy) => " (unhealthy)",
        None => "",
    };
    let up = || format!("Up {}", time::since(status.started_date.as_deref().unwrap_or_default()));
    match Status::of(container) {
        Status::Created => "Created".to_owned(),
        Status::Paused => format!("{} (Paused)", up()),
        Status::Running => up() + health,
        Status::Stopping => format!("{} (Stopping)", up()),
        Status::Restarting => format!("Restarting ({code}) {ended}"),
        Status::Stopped => format!("Exited ({code}) {ended}"),
    }
    .trim_end()
    .to_owned()
}

/// `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp` of what runs.
fn ports(container: &ContainerSnapshot) -> String {
    let ports: Vec<String> = container.status.published_ports.iter().map(port).collect();
    ports.join(", ")
}

fn port(port: &PublishedPort) -> String {
    let address = match port.host_address.contains(':') && !port.host_address.starts_with('[') {
        true => format!("[{}]", port.host_address),
        false => port.host_address.clone(),
    };
    let range = |first: u16| match port.count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    format!("{address}:{}->{}/{}", range(port.host_port), range(port.container_port), port.proto)
}

fn configuration() -> ContainerConfiguration {
    let volume = MountKind::Volume {
        name: String::new(),
        format: String::new(),
        cache: CacheMode::On {},
        sync: SyncMode::Fsync {},
        anonymous: true,
    };
    let mount = |kind| Mount { kind, source: String::new(), destination: String::new(), options: texts() };
    ContainerConfiguration {
        id: String::new(),
        image: image(),
        mounts: [volume, MountKind::Tmpfs {}, MountKind::Virtiofs {}].map(mount).into(),
        published_ports: vec![published_port()],
        published_sockets: vec![PublishedSocket {
            container_path: String::new(),
            host_path: String::new(),
            permissions: Some(0),
        }],
        labels: any_keys(),
        sysctls: any_keys(),
        networks: vec![NetworkConfiguration {
            network: ANY_KEY.to_owned(),
            options: NetworkOptions {
                hostname: String::new(),
                mac_address: text(),
                mtu: Some(0),
                ipv4_address: text(),
                ipv6_address: text(),
                aliases: texts(),
            },
        }],
        egress: Some(EgressPolicy { allow: Vec::new() }),
        dns: Some(DnsConfiguration {
            nameservers: texts(),
            domain: text(),
            search_domains: texts(),
            options: texts(),
        }),
        init_process: process(),
        platform: platform(),
        resources: Resources {
            cpus: 0,
            memory_in_bytes: 0,
            storage: Some(0),
            cpu_overhead: 0,
            cpu_percent: Some(0),
        },
        runtime_handler: String::new(),
        rosetta: false,
        virtualization: false,
        ssh: false,
        read_only: false,
        use_init: false,
        cap_add: texts(),
        cap_drop: texts(),
        shm_size: Some(0),
        stop_signal: text(),
        masked_paths: Some(texts()),
        readonly_paths: Some(texts()),
        creation_date: String::new(),
        auto_remove: false,
        interactive: true,
        restart_policy: RestartPolicy::Always,
        stop_timeout_seconds: Some(0),
        health_check: Some(HealthCheck {
            command: texts(),
            interval_ms: 0,
            timeout_ms: 0,
            start_period_ms: 0,
            start_interval_ms: 0,
            retries: 0,
        }),
        creation_time_us: 0,
        kernel_arguments: texts(),
        kernel: text(),
        init_image: Some(image()),
        hostname: text(),
        extra_hosts: vec![ExtraHost { name: String::new(), address: String::new() }],
        privileged: false,
        no_new_privileges: false,
        pids_limit: Some(0),
        devices: vec![Device::Fuse],
        entrypoint_words: 1,
        log: LogConfiguration {
            driver: LogDriver::Local,
            maximum_file_bytes: Some(0),
            maximum_files: Some(0),
        },
    }
}

fn process() -> ProcessConfiguration {
    ProcessConfiguration {
        executable: String::new(),
        arguments: texts(),
        environment: texts(),
        working_directory: String::new(),
        terminal: false,
        user: User::Raw { user_string: String::new() },
        supplemental_groups: vec![0],
        supplemental_group_names: texts(),
        rlimits: vec![ResourceLimit { limit: String::new(), soft: 0, hard: 0 }],
    }
}

fn status() -> ContainerStatus {
    let checked =
        HealthCheckResult { start: String::new(), end: String::new(), exit_code: 0, output: String::new() };
    ContainerStatus {
        state: ContainerState::Running,
        networks: vec![NetworkStatus {
            network: ANY_KEY.to_owned(),
            hostname: String::new(),
            ipv4_address: String::new(),
            ipv4_gateway: String::new(),
            ipv6_address: text(),
            mac_address: text(),
            mtu: Some(0),
        }],
        network_problem: text(),
        published_ports: vec![published_port()],
        started_date: text(),
        exit_code: Some(0),
        finished_date: text(),
        oom_killed: false,
        restart_count: 0,
        restarting: true,
        health: Some(HealthStatus { status: HealthState::Healthy, failing_streak: 0, log: vec![checked] }),
        reason: text(),
        paused: true,
        unresponsive_since: text(),
        machine: Some(MachineStatus {
            vmm: String::new(),
            cpus: 0,
            memory_in_bytes: 0,
            kernel_release: String::new(),
            pid: 0,
            kernel_boot_us: 0,
            start_us: 0,
        }),
    }
}

fn published_port() -> PublishedPort {
    PublishedPort {
        host_address: String::new(),
        host_port: 0,
        container_port: 0,
        proto: String::new(),
        count: 1,
    }
}

fn image() -> ImageDescription {
    ImageDescription { reference: String::new(), descriptor: descriptor() }
}

/// With every key.
pub(super) fn descriptor() -> Descriptor {
    Descriptor {
        media_type: String::new(),
        digest: String::new(),
        size: 0,
        urls: Some(texts()),
        annotations: Some(any_keys()),
        platform: Some(platform()),
        artifact_type: text(),
    }
}

/// With every key.
pub(super) fn platform() -> Platform {
    Platform { os: String::new(), architecture: String::new(), variant: text() }
}

fn text() -> Option<String> {
    Some(String::new())
}

fn texts() -> Vec<String> {
    vec![String::new()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_dockers_words() {
        let of = |changes: Value| {
            let mut container = ContainerSnapshot::examples().remove(0);
            let mut status =
                json!({"state": "running", "networks": [], "startedDate": "2020-01-01T00:00:00Z"});
            status.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            container.status = serde_json::from_value(status).unwrap();
            let words = container.words();
            (words["State"].clone(), words["Status"].as_str().unwrap().to_owned())
        };
        for (changes, state, beginning, end) in [
            (json!({}), "running", "Up ", " years"),
            (json!({"paused": true}), "paused", "Up ", " years (Paused)"),
            (json!({"state": "stopped"}), "created", "Created", ""),
            (
                json!({"state": "stopped", "exitCode": 3, "finishedDate": "2020-01-01T00:00:00Z"}),
                "exited",
                "Exited (3) ",
                " years ago",
            ),
            (
                json!({"state": "stopped", "exitCode": 1, "restarting": true}),
                "restarting",
                "Restarting (1)",
                "",
            ),
        ] {
            let (word, sentence) = of(changes);
            assert_eq!(word, state);
            assert!(sentence.starts_with(beginning) && sentence.ends_with(end), "{sentence}");
        }
    }

    #[test]
    fn ports_are_written_as_docker_does() {
        let range = PublishedPort {
            host_address: "::".to_owned(),
            host_port: 8000,
            container_port: 80,
            proto: "udp".to_owned(),
            count: 3,
        };
        assert_eq!(port(&range), "[::]:8000-8002->80-82/udp");
        let one = PublishedPort { host_address: "0.0.0.0".to_owned(), count: 1, ..range };
        assert_eq!(port(&one), "0.0.0.0:8000->80/udp");
    }
}
