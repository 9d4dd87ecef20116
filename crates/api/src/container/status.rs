//! How a container is.

use serde::{Deserialize, Serialize};

use super::PublishedPort;
use crate::health::HealthStatus;

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
