//! Containers as `list` and `inspect` show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::health::{HealthCheck, HealthStatus};
use crate::process::ProcessConfiguration;
use crate::restart::RestartPolicy;

/// One entry of `list` and `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSnapshot {
    /// Id, which is also the name.
    pub id: String,
    /// As created.
    pub configuration: ContainerConfiguration,
    /// As it is.
    pub status: ContainerStatus,
}

/// What a container was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerConfiguration {
    /// Id.
    pub id: String,
    /// Image it was created from.
    pub image: ImageDescription,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Ports.
    pub published_ports: Vec<PublishedPort>,
    /// Sockets.
    pub published_sockets: Vec<PublishedSocket>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Guest sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Networks in the order of their interfaces.
    pub networks: Vec<NetworkConfiguration>,
    /// resolv.conf, without name servers: the gateway of the first network. Absent: none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsConfiguration>,
    /// First process.
    pub init_process: ProcessConfiguration,
    /// Platform of the image.
    pub platform: Platform,
    /// Machine.
    pub resources: Resources,
    /// `container-runtime-linux`
    pub runtime_handler: String,
    /// Foreign architectures.
    pub rosetta: bool,
    /// Nested virtualization.
    pub virtualization: bool,
    /// Forward the SSH agent.
    pub ssh: bool,
    /// Read-only root.
    pub read_only: bool,
    /// Reaping init.
    pub use_init: bool,
    /// Added capabilities, `CAP_*` or `ALL`.
    pub cap_add: Vec<String>,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// /dev/shm
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Signal of `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Absent: the default list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_paths: Option<Vec<String>>,
    /// Absent: the default list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly_paths: Option<Vec<String>>,
    /// RFC 3339, whole seconds, UTC.
    pub creation_date: String,
    /// Remove when it stops. Not part of the compatible shape's documented keys.
    #[serde(default)]
    pub auto_remove: bool,
    /// Its stdin stays open although nobody is attached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// When it is started again.
    #[serde(default, skip_serializing_if = "RestartPolicy::is_no")]
    pub restart_policy: RestartPolicy,
    /// Seconds that `stop` waits before KILL; absent: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_seconds: Option<u64>,
    /// How its health is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Unix time of its creation in microseconds: orders what `creation_date` cannot.
    #[serde(default)]
    pub creation_time_us: i64,
    /// Appended to the guest kernel's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_arguments: Vec<String>,
    /// Own kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Image whose vminitd is the guest's init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<ImageDescription>,
    /// Absent: the first label of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Further lines of /etc/hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// Every capability and device of the guest.
    #[serde(default)]
    pub privileged: bool,
    /// Processes gain no rights by executing a program.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Most processes and threads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
}

/// A line of /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraHost {
    /// Name.
    pub name: String,
    /// Address, or [`HOST_GATEWAY`].
    pub address: String,
}

/// Stands for the address of the host in the container's first network.
pub const HOST_GATEWAY: &str = "host-gateway";

/// Reference and descriptor of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageDescription {
    /// Full reference.
    pub reference: String,
    /// Of the index or manifest.
    pub descriptor: Descriptor,
}

/// OCI descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// sha256:…
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Foreign locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Artifact type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// OCI platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// linux
    pub os: String,
    /// amd64
    pub architecture: String,
    /// v8
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Kind: `{"tmpfs":{}}`, `{"virtiofs":{}}`, …
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// Host path, volume disk or empty.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// ro, size=…
    pub options: Vec<String>,
}

/// Kind of a mount, shaped as the compatible JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountKind {
    /// Memory.
    Tmpfs {},
    /// Host folder.
    Virtiofs {},
    /// Volume. The name is empty in the request for an anonymous one.
    Volume {
        /// Name.
        name: String,
        /// File system on its disk.
        #[serde(default = "ext4")]
        format: String,
        /// How the host caches it.
        #[serde(default)]
        cache: CacheMode,
        /// What its flushes mean.
        #[serde(default)]
        sync: SyncMode,
    },
}

impl MountKind {
    /// A volume as requests and records have it.
    #[must_use]
    pub fn volume(name: impl Into<String>) -> Self {
        let (cache, sync) = (CacheMode::default(), SyncMode::default());
        Self::Volume { name: name.into(), format: ext4(), cache, sync }
    }
}

fn ext4() -> String {
    "ext4".to_owned()
}

/// How the host caches a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CacheMode {
    /// In its page cache.
    On {},
}

impl Default for CacheMode {
    fn default() -> Self {
        Self::On {}
    }
}

/// What a guest's flush of a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SyncMode {
    /// Everything written before is on the host's disk.
    Fsync {},
}

impl Default for SyncMode {
    fn default() -> Self {
        Self::Fsync {}
    }
}

/// A published port or range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedPort {
    /// Host address.
    pub host_address: String,
    /// First host port; 0 stands for any that is free when the container starts.
    pub host_port: u16,
    /// First container port.
    pub container_port: u16,
    /// tcp or udp
    pub proto: String,
    /// Length of the range.
    pub count: u16,
}

/// A published socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedSocket {
    /// In the container.
    pub container_path: String,
    /// On the host.
    pub host_path: String,
    /// Mode bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<u32>,
}

/// Wish for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfiguration {
    /// Network name.
    pub network: String,
    /// Options.
    pub options: NetworkOptions,
}

/// Options of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkOptions {
    /// Name in DNS.
    pub hostname: String,
    /// Wanted MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Wanted MTU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Wanted IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    /// Further names in DNS, which containers may share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsConfiguration {
    /// Addresses.
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search list.
    pub search_domains: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// As asked for.
    pub cpus: u32,
    /// As asked for.
    pub memory_in_bytes: u64,
    /// Writable disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<u64>,
    /// Virtual CPUs beyond `cpus`.
    pub cpu_overhead: u32,
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// State.
    pub state: ContainerState,
    /// Interfaces of a running container.
    pub networks: Vec<NetworkStatus>,
    /// What its network has lost since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_problem: Option<String>,
    /// Ports of a running container, with the host ports that were chosen for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_ports: Vec<PublishedPort>,
    /// Last start; RFC 3339, whole seconds, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_date: Option<String>,
    /// Of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_date: Option<String>,
    /// The last run was ended by the OOM killer.
    #[serde(default)]
    pub oom_killed: bool,
    /// Restarts by policy.
    #[serde(default)]
    pub restart_count: u32,
    /// Its policy is about to start it again. The state is `stopped` until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarting: bool,
    /// Present when its health is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// Why it ended when its process did not simply exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its processes are frozen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Since when its guest does not answer; RFC 3339. Absent as long as it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unresponsive_since: Option<String>,
    /// The machine that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineStatus>,
}

/// The machine behind a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// uml or qemu
    pub vmm: String,
    /// Virtual CPUs that it really has.
    pub cpus: u32,
    /// Memory of the machine: the container's and the guest's own.
    pub memory_in_bytes: u64,
    /// uname -r of the guest.
    pub kernel_release: String,
    /// Process id of the VMM on the host.
    pub pid: u32,
    /// Guest kernel start to PID 1.
    pub kernel_boot_us: u64,
    /// Request received by the helper to process executed.
    pub start_us: u64,
}

/// State.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// Cannot be told.
    Unknown,
    /// Not running.
    Stopped,
    /// Running.
    Running,
    /// On the way down.
    Stopping,
}

impl ContainerState {
    /// As tables and JSON show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }
}

/// An interface of a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// Network.
    pub network: String,
    /// Name in DNS.
    pub hostname: String,
    /// "192.168.64.5/24"
    pub ipv4_address: String,
    /// Gateway.
    pub ipv4_gateway: String,
    /// With prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
    /// MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}
