//! Flags of `run` and `create`, resolved into one request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bulkhead_api::container::{Mount, NetworkConfiguration, PublishedSocket};
use bulkhead_api::error::ErrorCode;
use bulkhead_api::request::CreateRequest;
use clap::Args;

use super::management::DEFAULT_RUNTIME;
use super::{
    ElsewhereFlags, FetchFlags, ManagementFlags, ProcessFlags, ProgressMode, RegistryFlags, ResourceFlags,
};
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::values::patience::Patience;
use crate::values::platform::{self, PlatformFlags, Precedence};
use crate::values::published_socket::PublishSocket;
use crate::values::{InvalidValue, egress, invalid, label_file, log_option, network, port};

/// What getdomainname(2) tells.
const DOMAIN_NAME: &str = "kernel.domainname";

/// What `run` and `create` have in common.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateFlags {
    #[command(flatten)]
    pub(crate) process: ProcessFlags,
    #[command(flatten)]
    pub(crate) resource: ResourceFlags,
    #[command(flatten)]
    pub(crate) management: ManagementFlags,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    #[command(flatten)]
    pub(crate) fetch: FetchFlags,
    #[command(flatten)]
    elsewhere: ElsewhereFlags,
    /// Image, and what to run in place of its command; everything after the image is passed on
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "ARGUMENTS"])]
    words: Vec<String>,
}

impl CreateFlags {
    /// As asked for, unless nothing is to be shown.
    pub(crate) fn progress(&self, mode: ProgressMode) -> Progress {
        Progress::new(if self.management.quiet { ProgressMode::None } else { mode })
    }

    /// The request, for the command whose name usage errors carry.
    pub(crate) fn resolve(&self, command: &str) -> Result<CreateRequest, Failure> {
        let usage =
            |error: InvalidValue| Failure::Usage { message: error.to_string(), command: command.to_owned() };
        let management = &self.management;
        let (image, arguments) = match self.words.split_first() {
            Some((image, arguments)) if !image.is_empty() => (image.clone(), arguments.to_vec()),
            _ => return Err(usage(InvalidValue("the name of the image is empty".to_owned()))),
        };
        let flags = PlatformFlags {
            platform: management.platform.as_deref(),
            os: management.os.as_deref(),
            architecture: management.arch.as_deref(),
        };
        self.check_ports().map_err(usage)?;
        if management.remove && !management.restart.is_no() {
            let message = format!("--rm conflicts with --restart {}", management.restart);
            return Err(usage(InvalidValue(message)));
        }
        self.resource.check_swap().map_err(usage)?;
        self.refuse_unserved()?;
        Ok(CreateRequest {
            image,
            id: management.name.clone().map(|name| name.into_string()),
            arguments,
            entrypoint: management.entrypoint.clone(),
            environment: self.process.environment().map_err(usage)?,
            working_directory: self.process.working_directory(),
            user: self.process.user(),
            groups: self.process.group().into_iter().chain(management.group_add.iter().cloned()).collect(),
            terminal: self.process.tty,
            interactive: self.process.interactive,
            rlimits: self.process.limits().map_err(usage)?,
            cpus: self.resource.cpus(),
            cpu_percent: self.resource.cpu_percent(),
            memory_in_bytes: self.resource.memory_bytes(),
            networks: self.networks().map_err(usage)?,
            egress: egress::policy(&management.egress).map_err(usage)?,
            dns: management.dns.configuration(),
            no_dns: management.dns.no_dns,
            hostname: management.hostname.clone().map(|hostname| hostname.into_string()),
            extra_hosts: management.add_host.iter().cloned().map(|host| host.into_extra_host()).collect(),
            labels: self.labels().map_err(usage)?,
            mounts: self.mounts()?,
            volumes_from: management.volumes_from.iter().map(|other| other.0.clone()).collect(),
            published_ports: management.publish.iter().cloned().map(|port| port.into_published()).collect(),
            publish_all: management.publish_all,
            exposed_ports: management.expose.iter().map(ToString::to_string).collect(),
            published_sockets: self.published_sockets()?,
            cap_add: management.cap_add.iter().cloned().map(|name| name.into_name()).collect(),
            cap_drop: management.cap_drop.iter().cloned().map(|name| name.into_name()).collect(),
            privileged: management.privileged,
            no_new_privileges: management.no_new_privileges(),
            pids_limit: management.pids_limit.and_then(|limit| limit.count()),
            read_only: management.read_only,
            auto_remove: management.remove,
            init: management.init,
            shm_size: management.shm_size.map(|size| size.bytes()),
            masked_paths: management.system_paths(&management.masked_path),
            readonly_paths: management.system_paths(&management.read_only_path),
            platform: platform::resolve(flags, Precedence::EnvironmentFirst).map_err(usage)?,
            scheme: self.registry.scheme(),
            registry_login: self.registry.login(),
            maximum_concurrent_downloads: Some(self.fetch.maximum_concurrent_downloads()),
            kernel: management.kernel.as_deref().map(absolute).transpose()?,
            kernel_arguments: management.kernel_arg.clone(),
            sysctls: self.sysctls(),
            stop_signal: management.stop_signal.clone(),
            init_image: management.init_image.clone(),
            ssh: management.ssh,
            stop_timeout_seconds: management.stop_timeout.map(Patience::seconds),
            restart_policy: management.restart,
            health_check: management.health.request(),
            pull: management.pull.into(),
            devices: management.device.iter().filter_map(|flag| flag.0).collect(),
            log: log_option::configuration(management.log_driver, &management.log_opt).map_err(usage)?,
            quiet: management.quiet,
            rosetta: management.rosetta,
        })
    }

    /// Flags that are understood but would have no effect.
    fn refuse_unserved(&self) -> Result<(), Failure> {
        let management = &self.management;
        let unserved = [
            (management.runtime != DEFAULT_RUNTIME, "another --runtime than container-runtime-linux"),
            (management.virtualization, "--virtualization"),
        ];
        match unserved.into_iter().find(|(given, _)| *given) {
            Some((_, what)) => Err(Failure::unsupported(what)),
            None => Ok(()),
        }
    }

    fn check_ports(&self) -> Result<(), InvalidValue> {
        let ports = &self.management.publish;
        if ports.len() > port::MAXIMUM_COUNT {
            return invalid(format!("at most {} ports can be published", port::MAXIMUM_COUNT));
        }
        let overlap = |index: usize| ports[..index].iter().any(|earlier| earlier.overlaps(&ports[index]));
        match (0..ports.len()).find(|index| overlap(*index)) {
            Some(index) => {
                let port = ports[index].clone().into_published();
                invalid(format!("host port {} is published twice", port.host_port))
            }
            None => Ok(()),
        }
    }

    fn networks(&self) -> Result<Option<Vec<NetworkConfiguration>>, InvalidValue> {
        let wanted = &self.management.network;
        let (address, address6) = (self.management.ip, self.management.ip6);
        let (mac_address, aliases) = (&self.management.mac_address, &self.management.network_alias);
        let wishes = address.is_some() || address6.is_some() || mac_address.is_some() || !aliases.is_empty();
        if wanted.iter().any(|network| network.name == network::NONE) {
            return match wanted.len() {
                1 if wishes => {
                    invalid("--network none conflicts with --ip, --ip6, --mac-address and --network-alias")
                }
                1 => Ok(Some(Vec::new())),
                _ => invalid("--network none cannot be combined with other networks"),
            };
        }
        let mut networks = wanted.clone();
        if wishes {
            if networks.len() > 1 {
                return invalid(
                    "--ip, --ip6, --mac-address and --network-alias need one network: with several, write \
                     --network NAME,ip=…,ip6=…,mac=…,alias=…",
                );
            }
            if networks.is_empty() {
                networks.push(network::NetworkAttachment::plain(network::DEFAULT));
            }
            if let Some(only) = networks.first_mut() {
                only.address = address.or(only.address);
                only.address6 = address6.or(only.address6);
                only.mac_address = mac_address.clone().or(only.mac_address.take());
                only.aliases.extend(aliases.iter().cloned());
            }
        }
        let networks: Vec<_> = networks.into_iter().map(|network| network.into_configuration()).collect();
        Ok((!networks.is_empty()).then_some(networks))
    }

    fn published_sockets(&self) -> Result<Vec<PublishedSocket>, Failure> {
        let publish = |socket: &PublishSocket| {
            Ok(PublishedSocket {
                container_path: socket.container.clone(),
                host_path: absolute(Path::new(&socket.host))?,
                permissions: socket.permissions,
            })
        };
        self.management.publish_socket.iter().map(publish).collect()
    }

    /// The guest has no other container: its domain name is its kernel's.
    fn sysctls(&self) -> BTreeMap<String, String> {
        let domain = self.management.domainname.as_ref().map(|name| (DOMAIN_NAME, name.as_str()));
        let sysctls =
            self.management.sysctl.iter().map(|sysctl| (sysctl.key.as_str(), sysctl.value.as_str()));
        let all = domain.into_iter().chain(sysctls);
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Files first, then flags: later ones win.
    fn labels(&self) -> Result<BTreeMap<String, String>, InvalidValue> {
        let mut labels = Vec::new();
        for file in &self.management.label_file {
            labels.extend(label_file::read(file)?);
        }
        labels.extend(self.management.label.iter().cloned());
        Ok(labels.into_iter().map(|label| (label.key, label.value)).collect())
    }

    fn mounts(&self) -> Result<Vec<Mount>, Failure> {
        let management = &self.management;
        let tmpfs = management.tmpfs.iter().cloned().map(|mount| Ok(mount.into_mount()));
        let mounts = management.mount.iter().cloned().map(|mount| mount.into_mount(absolute));
        let volumes = management.volume.iter().cloned().map(|volume| volume.into_mount(absolute));
        tmpfs.chain(mounts).chain(volumes).collect()
    }
}

/// The daemon has another working directory.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute: PathBuf = std::path::absolute(path).map_err(|error| {
        Failure::caused_by(
            ErrorCode::InvalidArgument,
            format!("cannot resolve the path '{}'", path.display()),
            &error,
        )
    })?;
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::refused(ErrorCode::InvalidArgument, format!("the path '{}' is not UTF-8", path.display()))
    })
}
