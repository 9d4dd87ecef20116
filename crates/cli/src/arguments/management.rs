//! How a container is set up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use bulkhead_api::container::DnsConfiguration;
use bulkhead_api::log::LogDriver;
use bulkhead_api::request::PullPolicy;
use bulkhead_api::restart::RestartPolicy;
use clap::{Args, ValueEnum};

use super::HealthFlags;
use crate::values::capability::Capability;
use crate::values::container_name::ContainerName;
use crate::values::device::DeviceFlag;
use crate::values::egress::EgressFlag;
use crate::values::hosts::{AddHost, Hostname};
use crate::values::key_value::{Label, Sysctl};
use crate::values::link::Link;
use crate::values::log_option::LogOption;
use crate::values::memory_size::MemorySize;
use crate::values::mount::MountSpecification;
use crate::values::network::{MacAddress, NetworkAttachment};
use crate::values::paths::PathOrNone;
use crate::values::patience::Patience;
use crate::values::pids_limit::PidsLimit;
use crate::values::port::{ExposePort, PublishPort};
use crate::values::published_socket::PublishSocket;
use crate::values::security_option::SecurityOption;
use crate::values::tmpfs::TmpfsMount;
use crate::values::volume::VolumeMount;
use crate::values::volumes_from::VolumesFromContainer;

/// Flags of a container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "MANAGEMENT OPTIONS")]
pub(crate) struct ManagementFlags {
    /// Add a name to /etc/hosts; host-gateway stands for the host's address
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(crate) add_host: Vec<AddHost>,

    /// Architecture of the image [default: this host's]
    #[arg(short, long, value_name = "ARCHITECTURE")]
    pub(crate) arch: Option<String>,

    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<Capability>,

    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<Capability>,

    /// Write the id into a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,

    /// Start the container and leave it running
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Show the container a device of its machine: /dev/fuse or /dev/net/tun
    #[arg(long, value_name = "PATH")]
    pub(crate) device: Vec<DeviceFlag>,

    #[command(flatten)]
    pub(crate) dns: DnsFlags,

    /// NIS domain name of the container
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<Hostname>,

    /// Let the container connect to nothing but allowed destinations: none, or names, addresses and subnets
    #[arg(long, value_name = "none|allow=DESTINATION[:PORTS]")]
    pub(crate) egress: Vec<EgressFlag>,

    /// Replace the entrypoint of the image
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,

    /// Tell that the container listens on a port or range, for --publish-all
    #[arg(long, value_name = "PORT[-PORT][/tcp|udp]")]
    pub(crate) expose: Vec<ExposePort>,

    /// Add a group to those of the user
    #[arg(long, value_name = "NAME|GID")]
    pub(crate) group_add: Vec<String>,

    /// Host name of the container [default: the first part of its name]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<Hostname>,

    /// Run a small init process that forwards signals and reaps processes
    #[arg(long)]
    pub(crate) init: bool,

    #[command(flatten)]
    pub(crate) health: HealthFlags,

    /// Take the guest's init, /sbin/vminitd, from another image
    #[arg(long, value_name = "IMAGE")]
    pub(crate) init_image: Option<String>,

    /// IPv4 address of the container on its network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<Ipv4Addr>,

    /// IPv6 address of the container on its network, which must have IPv6
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<Ipv6Addr>,

    /// Use another guest kernel
    #[arg(short, long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,

    /// Add to the guest kernel's command line, in place of its own argument of that name
    #[arg(long, value_name = "ARGUMENT")]
    pub(crate) kernel_arg: Vec<String>,

    /// Label the container
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(crate) label: Vec<Label>,

    /// Read labels from a file; those of --label win
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,

    /// Does nothing where the names are the same: containers of a network know each other by name
    #[arg(long, value_name = "CONTAINER", hide = true)]
    link: Vec<Link>,

    /// Where output is kept: json-file, local with more and smaller files, or none
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<LogDriver>,

    /// Bound the files that output is kept in: max-size=SIZE, max-file=NUMBER [default: 64m, 2]
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<LogOption>,

    /// Give the container's interface this address
    #[arg(long, value_name = "MAC")]
    pub(crate) mac_address: Option<MacAddress>,

    /// Hide a path beyond the default ones; NONE hides none
    #[arg(long, value_name = "PATH")]
    pub(crate) masked_path: Vec<PathOrNone>,

    /// Mount a folder, a volume or memory: type=bind|tmpfs|volume,source=…,target=…[,readonly][,volume-nocopy][,size=…][,mode=…]
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<MountSpecification>,

    /// Name of the container [default: a random UUID]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ContainerName>,

    /// Join a network, with optional addresses, MTU and further names; none joins none
    #[arg(
        long,
        alias = "net",
        value_name = "NAME[,mac=MAC][,mtu=MTU][,ip=ADDRESS][,ip6=ADDRESS][,alias=NAME]"
    )]
    pub(crate) network: Vec<NetworkAttachment>,

    /// Give the container a further name on its network
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,

    /// Operating system of the image [default: linux]
    #[arg(long, value_name = "OS")]
    pub(crate) os: Option<String>,

    /// Limit the number of processes and threads; -1 does not
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<PidsLimit>,

    /// Give the container every capability and every device of its machine
    #[arg(long)]
    pub(crate) privileged: bool,

    /// Publish a port or range: [[host-ip:]host-port:]container-port[/tcp|udp]; any free host port if none is given
    #[arg(short, long, value_name = "PORTS")]
    pub(crate) publish: Vec<PublishPort>,

    /// Publish each port that the image or --expose names at a free port of the host
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,

    /// Platform of the image, before --os and --arch [environment: CONTAINER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    pub(crate) platform: Option<String>,

    /// Publish a socket of the container on the host, with mode 600 unless told otherwise
    #[arg(long, value_name = "HOST:CONTAINER[:MODE]")]
    pub(crate) publish_socket: Vec<PublishSocket>,

    /// When to pull the image
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pull: PullWhen,

    /// Do not show that the image is pulled, and how far it is
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Make the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Make a path read-only beyond the default ones; NONE makes none
    #[arg(long, value_name = "PATH")]
    pub(crate) read_only_path: Vec<PathOrNone>,

    /// Remove the container when it stops
    #[arg(long = "rm", visible_alias = "remove")]
    pub(crate) remove: bool,

    /// When to start the container again after it ended: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(crate) restart: RestartPolicy,

    /// Run programs of other architectures beside those of the image, by emulation
    #[arg(long)]
    pub(crate) rosetta: bool,

    /// Runtime of the container
    #[arg(long, value_name = "RUNTIME", default_value = DEFAULT_RUNTIME)]
    pub(crate) runtime: String,

    /// Set a security option: no-new-privileges
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<SecurityOption>,

    /// Forward the SSH agent of SSH_AUTH_SOCK
    #[arg(long)]
    pub(crate) ssh: bool,

    /// Size of /dev/shm, with suffix K, M, G, T or P
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<MemorySize>,

    /// Signal of `stop` [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,

    /// Seconds that `stop` waits before the container is killed [default: 5]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) stop_timeout: Option<Patience>,

    /// Set a kernel parameter of the guest
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) sysctl: Vec<Sysctl>,

    /// Mount memory at a path
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub(crate) tmpfs: Vec<TmpfsMount>,

    /// Offer virtualization to the container
    #[arg(long)]
    pub(crate) virtualization: bool,

    /// Mount a folder or volume; a new volume takes what the image has at PATH, unless OPTIONS say nocopy
    #[arg(short, long, value_name = "[SOURCE:]PATH[:OPTIONS]")]
    pub(crate) volume: Vec<VolumeMount>,

    /// Mount the volumes and folders of another container, read-only if asked for
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(crate) volumes_from: Vec<VolumesFromContainer>,
}

impl ManagementFlags {
    /// The paths to hide or to make read-only, beyond the default ones or with `NONE` in place of them.
    pub(crate) fn system_paths(&self, paths: &[PathOrNone]) -> Vec<String> {
        let unconfined = self.security_opt.contains(&SecurityOption::SystemPathsUnconfined);
        let none = unconfined.then(|| PathOrNone::NONE.to_owned());
        none.into_iter().chain(paths.iter().cloned().map(PathOrNone::into_string)).collect()
    }

    /// The last word on it counts.
    pub(crate) fn no_new_privileges(&self) -> bool {
        let said = self.security_opt.iter().rev().find_map(|option| match option {
            SecurityOption::NoNewPrivileges(wanted) => Some(*wanted),
            SecurityOption::Unconfined | SecurityOption::SystemPathsUnconfined => None,
        });
        said.unwrap_or(false)
    }
}

/// Value of `--pull`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullWhen {
    /// When it is not here.
    #[default]
    Missing,
    Always,
    Never,
}

impl From<PullWhen> for PullPolicy {
    fn from(when: PullWhen) -> Self {
        match when {
            PullWhen::Missing => Self::Missing,
            PullWhen::Always => Self::Always,
            PullWhen::Never => Self::Never,
        }
    }
}

/// The only runtime there is.
pub(crate) const DEFAULT_RUNTIME: &str = "container-runtime-linux";

/// Flags of resolv.conf.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DnsFlags {
    /// Address of a name server
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,

    /// Local domain
    #[arg(long, value_name = "DOMAIN")]
    dns_domain: Option<String>,

    /// Option of the resolver
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,

    /// Domain to search
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,

    /// Leave resolv.conf as the image has it
    #[arg(long, conflicts_with_all = ["dns", "dns_domain", "dns_option", "dns_search"])]
    pub(crate) no_dns: bool,
}

impl DnsFlags {
    /// `None` when no flag is given.
    pub(crate) fn configuration(&self) -> Option<DnsConfiguration> {
        let given = !self.dns.is_empty()
            || self.dns_domain.is_some()
            || !self.dns_option.is_empty()
            || !self.dns_search.is_empty();
        given.then(|| DnsConfiguration {
            nameservers: self.dns.iter().map(IpAddr::to_string).collect(),
            domain: self.dns_domain.clone(),
            search_domains: self.dns_search.clone(),
            options: self.dns_option.clone(),
        })
    }
}
