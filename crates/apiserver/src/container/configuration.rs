//! A container's configuration: the request merged with the image's defaults and ours.

use bulkhead_api::container::{
    ContainerConfiguration, ImageDescription, MINIMUM_MEMORY_BYTES, Mount, MountKind, NetworkConfiguration,
    NetworkOptions, Platform, Resources,
};
use bulkhead_api::error::ApiError;
use bulkhead_api::log::{MOST_FILES, SMALLEST_FILE_BYTES};
use bulkhead_api::process::ProcessConfiguration;
use bulkhead_api::request::CreateRequest;
use bulkhead_api::restart::RestartPolicy;
use bulkhead_network_control::DEFAULT_NETWORK;

use super::{
    capabilities, environment, exposed_ports, health, hosts, identifier, kernel_arguments, mounts, paths,
    published_ports, resource_limits, signals, sockets, user,
};
use crate::date;
use crate::error::{invalid, not_found};
use crate::settings::Settings;
use crate::volume;

/// Virtual CPUs beyond the container's, for the guest's own work.
const CPU_OVERHEAD: u32 = 1;

/// Checks everything about a request that can be checked without its image.
pub(crate) fn validate(request: &CreateRequest) -> Result<(), ApiError> {
    if let Some(id) = &request.id {
        identifier::validate(id)?;
    }
    validate_machine(request.cpus, request.cpu_percent, request.memory_in_bytes)?;
    capabilities::mask(&request.cap_add, &request.cap_drop)?;
    resource_limits::convert(&request.rlimits)?;
    if let Some(signal) = &request.stop_signal {
        signals::parse(signal)?;
    }
    validate_restarts(request.auto_remove, request.restart_policy)?;
    for mount in &request.mounts {
        validate_mount(mount)?;
    }
    mounts::expect_disjoint(&request.mounts)?;
    let joins_network = request.networks.as_ref().is_none_or(|networks| !networks.is_empty());
    if request.egress.is_some() && !joins_network {
        return Err(invalid("an egress policy needs a network: without one, nothing is reached anyway"));
    }
    published_ports::validate(&request.published_ports, joins_network)?;
    exposed_ports::validate(&request.exposed_ports)?;
    sockets::validate(&request.published_sockets)?;
    if let Some(hostname) = &request.hostname {
        hosts::validate_hostname(hostname)?;
    }
    hosts::validate_extra(&request.extra_hosts)?;
    user::groups(&request.groups)?;
    kernel_arguments::validate(&request.kernel_arguments)?;
    if request.pids_limit == Some(0) {
        return Err(invalid("a container needs at least one process"));
    }
    let log = request.log;
    if log.maximum_file_bytes.is_some_and(|bytes| bytes < SMALLEST_FILE_BYTES)
        || log.maximum_files.is_some_and(|count| !(1..=MOST_FILES).contains(&count))
    {
        return Err(invalid(format!(
            "a log has from 1 to {MOST_FILES} files of at least {SMALLEST_FILE_BYTES} bytes"
        )));
    }
    if let Some(kernel) = &request.kernel
        && !std::path::Path::new(kernel).is_file()
    {
        return Err(not_found(format!("there is no kernel '{}'", kernel.escape_default())));
    }
    Ok(())
}

/// Far more than there are; what is told to the kernel must be a number that it takes.
const MOST_CPUS: u32 = 1024;

/// Checks what a machine is to have.
pub(super) fn validate_machine(
    cpus: Option<u32>,
    cpu_percent: Option<u64>,
    memory_bytes: Option<u64>,
) -> Result<(), ApiError> {
    if let Some(memory) = memory_bytes
        && memory < MINIMUM_MEMORY_BYTES
    {
        return Err(invalid(format!(
            "a container needs at least 200 MiB of memory, not {} MiB",
            memory >> 20
        )));
    }
    if cpus == Some(0) {
        return Err(invalid("a container needs at least one CPU"));
    }
    if let Some(count) = cpus.filter(|count| *count > MOST_CPUS) {
        return Err(invalid(format!("a container has {MOST_CPUS} CPUs at most, not {count}")));
    }
    if cpu_percent.is_some_and(|percent| percent == 0 || percent > u64::from(cpus.unwrap_or(0)) * 100) {
        return Err(invalid("a share of the CPUs is more than nothing and not more than all of them"));
    }
    Ok(())
}

pub(super) fn validate_restarts(auto_remove: bool, policy: RestartPolicy) -> Result<(), ApiError> {
    if auto_remove && !policy.is_no() {
        return Err(invalid(format!(
            "a container that is removed when it stops cannot be restarted ({policy}): choose one"
        )));
    }
    Ok(())
}

fn validate_mount(mount: &Mount) -> Result<(), ApiError> {
    paths::absolute(&mount.destination)?;
    if mount.destination == "/" {
        return Err(invalid("nothing can be mounted over '/'"));
    }
    paths::mountable(&mount.destination)?;
    match &mount.kind {
        MountKind::Tmpfs {} => Ok(()),
        MountKind::Virtiofs {} => mounts::examine(&mount.source).map(drop),
        MountKind::Volume { name, .. } if name.is_empty() => Ok(()),
        MountKind::Volume { name, .. } => volume::validate_name(name),
    }
}

/// What the container is created with.
pub(crate) fn merge(
    request: CreateRequest,
    id: String,
    image: ImageDescription,
    init_image: Option<ImageDescription>,
    defaults: &bulkhead_oci::ContainerConfiguration,
    platform: Platform,
    settings: &Settings,
) -> Result<ContainerConfiguration, ApiError> {
    let hostname = request.hostname.as_deref().unwrap_or_else(|| identifier::hostname(&id));
    let mut environment =
        environment::merge(hostname, request.terminal, &defaults.env, &request.environment)?;
    if request.ssh {
        sockets::announce_agent(&mut environment);
    }
    let groups = user::groups(&request.groups)?;
    let entrypoint = entrypoint(request.entrypoint.as_deref(), defaults);
    let entrypoint_words = entrypoint.len();
    let is_replaced = request.entrypoint.is_some();
    let mut words = command(entrypoint, is_replaced, request.arguments, defaults)?.into_iter();
    let init_process = ProcessConfiguration {
        executable: words.next().unwrap_or_default(),
        arguments: words.collect(),
        environment,
        working_directory: working_directory(request.working_directory.as_deref(), &defaults.working_dir)?,
        terminal: request.terminal,
        user: user::resolve(request.user, &defaults.user)?,
        supplemental_groups: groups.ids,
        supplemental_group_names: groups.names,
        rlimits: request.rlimits,
    };
    // A privileged container hides nothing, unless it is asked to hide something in particular.
    let (masked, read_only) = if request.privileged {
        (Vec::new(), Vec::new())
    } else {
        (paths::default_masked(), paths::default_read_only())
    };
    let mut labels = defaults.labels.clone();
    labels.extend(request.labels);
    let networks = match request.networks {
        Some(networks) => networks,
        None => vec![NetworkConfiguration {
            network: DEFAULT_NETWORK.to_owned(),
            options: NetworkOptions::default(),
        }],
    };
    let mut published_ports = request.published_ports;
    // Without a network there is nobody to publish to; a port that is asked for by number was refused then.
    if request.publish_all && !networks.is_empty() {
        published_ports =
            exposed_ports::publish(published_ports, &defaults.exposed_ports, &request.exposed_ports)?;
        published_ports::expect_disjoint(&published_ports)?;
    }
    let networks = networks
        .into_iter()
        .map(|mut network| {
            if network.options.hostname.is_empty() {
                network.options.hostname.clone_from(&id);
            }
            network
        })
        .collect();
    Ok(ContainerConfiguration {
        image,
        mounts: request.mounts,
        published_ports,
        published_sockets: request.published_sockets,
        labels,
        sysctls: request.sysctls,
        networks,
        egress: request.egress,
        dns: (!request.no_dns).then(|| {
            let mut dns = request.dns.unwrap_or_default();
            dns.domain = dns.domain.or_else(|| settings.local_domain.clone());
            dns
        }),
        init_process,
        platform,
        resources: Resources {
            cpus: request.cpus.unwrap_or(settings.cpus),
            memory_in_bytes: request.memory_in_bytes.unwrap_or(settings.memory_bytes),
            storage: None,
            cpu_overhead: CPU_OVERHEAD,
            cpu_percent: request.cpu_percent,
        },
        runtime_handler: "container-runtime-linux".to_owned(),
        rosetta: request.rosetta,
        virtualization: false,
        ssh: request.ssh,
        read_only: request.read_only,
        use_init: request.init,
        cap_add: capabilities::canonical(&request.cap_add)?,
        cap_drop: capabilities::canonical(&request.cap_drop)?,
        shm_size: request.shm_size,
        stop_signal: request.stop_signal.or_else(|| defaults.stop_signal.clone()),
        masked_paths: paths::extend(masked, &request.masked_paths, request.privileged)?,
        readonly_paths: paths::extend(read_only, &request.readonly_paths, request.privileged)?,
        creation_date: date::now(),
        auto_remove: request.auto_remove,
        interactive: request.interactive,
        restart_policy: request.restart_policy,
        stop_timeout_seconds: request.stop_timeout_seconds,
        health_check: health::merge(&request.health_check, defaults.healthcheck.as_ref())?,
        creation_time_us: date::now_us(),
        kernel_arguments: request.kernel_arguments,
        kernel: request.kernel,
        init_image,
        hostname: request.hostname,
        extra_hosts: request.extra_hosts,
        privileged: request.privileged,
        no_new_privileges: request.no_new_privileges,
        pids_limit: request.pids_limit,
        devices: request.devices,
        entrypoint_words,
        log: request.log,
        id,
    })
}

fn entrypoint(asked: Option<&str>, defaults: &bulkhead_oci::ContainerConfiguration) -> Vec<String> {
    match asked {
        Some("") => Vec::new(),
        Some(entrypoint) => vec![entrypoint.to_owned()],
        None => defaults.entrypoint.clone().unwrap_or_default(),
    }
}

/// Docker's rules: words replace the image's command; an entrypoint replaces the image's and drops its
/// command; an empty one leaves the words alone.
fn command(
    entrypoint: Vec<String>,
    is_replaced: bool,
    arguments: Vec<String>,
    defaults: &bulkhead_oci::ContainerConfiguration,
) -> Result<Vec<String>, ApiError> {
    let mut words = entrypoint;
    if arguments.is_empty() && !is_replaced {
        words.extend(defaults.cmd.clone().unwrap_or_default());
    } else {
        words.extend(arguments);
    }
    match words.first() {
        None => Err(invalid("no command: the image names none, so give one after the image")),
        Some(first) if first.is_empty() => Err(invalid("the command is an empty word")),
        Some(_) if words.iter().any(|word| word.contains('\0')) => {
            Err(invalid("a word of the command contains a zero byte"))
        }
        Some(_) => Ok(words),
    }
}

pub(super) fn working_directory(wanted: Option<&str>, image: &str) -> Result<String, ApiError> {
    match wanted {
        Some(path) => paths::absolute(path).map(|()| path.to_owned()),
        None if image.is_empty() => Ok("/".to_owned()),
        // Some builders leave out the slash.
        None if image.starts_with('/') => Ok(image.to_owned()),
        None => Ok(format!("/{image}")),
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_api::process::User;

    use super::*;

    fn image() -> ImageDescription {
        serde_json::from_value(serde_json::json!({
            "reference": "docker.io/library/a:latest",
            "descriptor": {"mediaType": "m", "digest": "sha256:0", "size": 1}
        }))
        .unwrap()
    }

    fn merged(
        request: serde_json::Value,
        defaults: serde_json::Value,
    ) -> Result<ContainerConfiguration, ApiError> {
        let request: CreateRequest = serde_json::from_value(request).unwrap();
        validate(&request)?;
        let defaults = serde_json::from_value(defaults).unwrap();
        let platform = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
        merge(request, "web.test".to_owned(), image(), None, &defaults, platform, &Settings::default())
    }

    fn words(request: serde_json::Value) -> Result<Vec<String>, ApiError> {
        let defaults = serde_json::json!({"Entrypoint": ["/entry", "-x"], "Cmd": ["serve"]});
        let process = merged(request, defaults)?.init_process;
        Ok([vec![process.executable], process.arguments].concat())
    }

    #[test]
    fn commands_follow_dockers_rules() {
        use serde_json::json;
        assert_eq!(words(json!({})).unwrap(), ["/entry", "-x", "serve"]);
        assert_eq!(words(json!({"arguments": ["a", "b"]})).unwrap(), ["/entry", "-x", "a", "b"]);
        assert_eq!(words(json!({"entrypoint": "sh"})).unwrap(), ["sh"]);
        assert_eq!(words(json!({"entrypoint": "sh", "arguments": ["-c", "x"]})).unwrap(), ["sh", "-c", "x"]);
        assert_eq!(words(json!({"entrypoint": "", "arguments": ["ls"]})).unwrap(), ["ls"]);
        assert!(words(json!({"entrypoint": ""})).is_err());
        assert!(words(json!({"arguments": ["a\u{0}"]})).is_err());
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        let configuration = merged(serde_json::json!({}), serde_json::json!({"Cmd": ["sh"]})).unwrap();
        assert_eq!(configuration.resources.cpus, 4);
        assert_eq!(configuration.resources.memory_in_bytes, 1 << 30);
        assert_eq!(configuration.networks[0].network, "default");
        assert_eq!(configuration.networks[0].options.hostname, "web.test");
        assert_eq!(configuration.init_process.environment[1], "HOSTNAME=web");
        assert_eq!(configuration.init_process.working_directory, "/");
        assert_eq!(configuration.init_process.user, User::Id { uid: 0, gid: 0 });
        assert_eq!(configuration.dns, Some(bulkhead_api::container::DnsConfiguration::default()));
        assert_eq!(configuration.masked_paths, None);
    }

    #[test]
    fn network_none_means_no_interface() {
        let configuration =
            merged(serde_json::json!({"networks": []}), serde_json::json!({"Cmd": ["sh"]})).unwrap();
        assert!(configuration.networks.is_empty());
    }

    #[test]
    fn ports_that_the_image_exposes_are_published_when_asked_for() {
        use serde_json::json;
        let defaults = json!({"Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}});
        let ports = |request: serde_json::Value| {
            let merged = merged(request, defaults.clone())?;
            Ok::<_, ApiError>(
                merged.published_ports.iter().map(|port| port.container_port).collect::<Vec<_>>(),
            )
        };
        assert!(ports(json!({})).unwrap().is_empty());
        assert!(ports(json!({"exposedPorts": ["81"]})).unwrap().is_empty());
        assert_eq!(ports(json!({"publishAll": true, "exposedPorts": ["90"]})).unwrap(), [80, 90]);
        assert!(ports(json!({"publishAll": true, "networks": []})).unwrap().is_empty());
        assert!(ports(json!({"exposedPorts": ["x"]})).is_err());
    }

    #[test]
    fn the_images_user_and_directory_are_taken() {
        let defaults = serde_json::json!({"Cmd": ["sh"], "User": "www:www", "WorkingDir": "srv",
            "StopSignal": "SIGQUIT", "Labels": {"a": "1", "b": "1"}});
        let configuration = merged(serde_json::json!({"labels": {"b": "2"}}), defaults).unwrap();
        assert_eq!(configuration.init_process.user.specification(), "www:www");
        assert_eq!(configuration.init_process.working_directory, "/srv");
        assert_eq!(configuration.stop_signal.as_deref(), Some("SIGQUIT"));
        assert_eq!(configuration.labels["a"], "1");
        assert_eq!(configuration.labels["b"], "2");
    }

    #[test]
    fn a_privileged_container_hides_only_what_it_is_asked_to() {
        let defaults = serde_json::json!({"Cmd": ["sh"]});
        let configuration = merged(serde_json::json!({"privileged": true}), defaults.clone()).unwrap();
        assert_eq!(configuration.masked_paths.as_deref(), Some(&[][..]));
        assert_eq!(configuration.readonly_paths.as_deref(), Some(&[][..]));
        let request = serde_json::json!({"privileged": true, "maskedPaths": ["/proc/keys"]});
        assert_eq!(merged(request, defaults).unwrap().masked_paths.unwrap(), ["/proc/keys"]);
    }

    #[test]
    fn f48_what_no_container_can_have_is_refused() {
        use serde_json::json;
        for request in [
            json!({"memoryInBytes": 100 << 20}),
            json!({"cpus": 0}),
            json!({"id": "../x"}),
            json!({"workingDirectory": "relative"}),
            json!({"user": {"id": {"uid": u32::MAX, "gid": 0}}}),
            json!({"user": {"raw": {"userString": "4294967296:0"}}}),
            json!({"capAdd": ["NONSENSE"]}),
            json!({"stopSignal": "NONSENSE"}),
            json!({"mounts": [{"type": {"tmpfs": {}}, "source": "", "destination": "/", "options": []}]}),
            json!({"mounts": [
                {"type": {"tmpfs": {}}, "source": "", "destination": "/a", "options": []},
                {"type": {"volume": {"name": "v"}}, "source": "", "destination": "//a/./", "options": []}
            ]}),
            json!({"maskedPaths": ["relative"]}),
            json!({"hostname": "a b"}),
            json!({"extraHosts": [{"name": "db", "address": "nowhere"}]}),
            json!({"groups": ["4294967296"]}),
            json!({"pidsLimit": 0}),
            json!({"publishedSockets": [{"hostPath": "relative", "containerPath": "/run/x"}]}),
        ] {
            assert!(merged(request.clone(), json!({"Cmd": ["sh"]})).is_err(), "{request}");
        }
    }
}
