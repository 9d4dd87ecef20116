//! What is recorded.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bulkhead_api::container::{
    ContainerConfiguration, Descriptor, MachineStatus, NetworkStatus, PublishedPort,
};
use bulkhead_api::health::HealthStatus;
use serde::{Deserialize, Serialize};

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// As created; carries the id.
    pub configuration: ContainerConfiguration,
    /// As it was last known.
    pub state: StateRecord,
}

/// What is known of a container beyond its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateRecord {
    /// Present while a helper runs the container.
    pub run: Option<RunRecord>,
    /// RFC 3339: last start.
    pub started_date: Option<String>,
    /// How the last run ended.
    pub exit: Option<ExitRecord>,
    /// Restarts by policy since the last start by a user.
    pub restart_count: u32,
    /// Somebody wanted it to end: no policy starts it before somebody wants it to run.
    pub stopped_by_user: bool,
    /// Of the last run.
    pub health: Option<HealthStatus>,
    /// Its directory may still have this name: a crash came in between.
    pub renamed_from: Option<String>,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// The process that serves it.
    pub helper: HelperIdentity,
    /// Its interfaces.
    pub networks: Vec<NetworkStatus>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub published_ports: Vec<PublishedPort>,
    /// Its machine, known once it booted.
    pub machine: Option<MachineStatus>,
    /// RFC 3339: since when its guest does not answer.
    #[serde(default)]
    pub unresponsive_since: Option<String>,
}

/// Names one process for all time: process ids are reused, these three together are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HelperIdentity {
    /// Process id.
    pub pid: u32,
    /// Field 22 of /proc/pid/stat, proc_pid_stat(5): clock ticks after boot.
    pub start_time_ticks: u64,
    /// /proc/sys/kernel/random/boot_id
    pub boot_id: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// 0-255
    pub exit_code: i32,
    /// RFC 3339
    pub finished_date: String,
    /// The guest's OOM killer struck.
    pub oom_killed: bool,
    /// Why it ended when its process did not simply exit.
    pub reason: Option<String>,
}

/// An image's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Full reference.
    pub reference: String,
    /// Of its index or manifest.
    pub descriptor: Descriptor,
    /// RFC 3339: when it came into the store.
    pub creation_date: String,
}

/// A domain by which the host finds containers, or containers the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainRecord {
    /// Name.
    pub name: String,
    /// Stands for the host's loopback.
    pub localhost: Option<Ipv4Addr>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRecord {
    /// Name.
    pub name: String,
    /// "192.168.64.0/24"
    pub ipv4_subnet: Option<String>,
    /// "fd00:…::/64"
    pub ipv6_subnet: Option<String>,
    /// The IPv4 subnet was asked for: without it the network cannot be had.
    #[serde(default)]
    pub subnet_is_fixed: bool,
    /// No way outside.
    pub internal: bool,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// RFC 3339
    pub creation_date: String,
}
