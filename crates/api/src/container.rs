//! Containers as `list` and `inspect` show them.

mod device;
mod mount;
mod network;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::egress::EgressPolicy;
use crate::health::HealthCheck;
use crate::log::LogConfiguration;
use crate::process::ProcessConfiguration;
use crate::restart::RestartPolicy;

pub use device::{Device, UnknownDevice};
pub use mount::{CacheMode, Mount, MountKind, SyncMode};
pub use network::{DnsConfiguration, NetworkConfiguration, NetworkOptions, PublishedPort, PublishedSocket};
pub use status::{ContainerState, ContainerStatus, MachineStatus, NetworkStatus};

/// The least memory that a container can have.
pub const MINIMUM_MEMORY_BYTES: u64 = 200 << 20;

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
    /// What it may begin connections to; absent: whatever its networks let it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressPolicy>,
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
    /// Of its machine, beyond those that every container has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// How many of the first words of its command are the entrypoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub entrypoint_words: usize,
    /// What is kept of its output.
    #[serde(default, skip_serializing_if = "LogConfiguration::is_default")]
    pub log: LogConfiguration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ContainerConfiguration {
    /// The images that it cannot start without.
    pub fn images(&self) -> impl Iterator<Item = &ImageDescription> {
        std::iter::once(&self.image).chain(&self.init_image)
    }
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
    /// Hundredths of a CPU that the container may use, where that is not all of `cpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u64>,
}

impl Resources {
    /// Hundredths of a CPU that the container may use.
    #[must_use]
    pub fn cpu_limit_percent(&self) -> u64 {
        self.cpu_percent.unwrap_or_else(|| u64::from(self.cpus).saturating_mul(100))
    }
}
