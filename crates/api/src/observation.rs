//! What a running container does: its use of resources and its processes.

use serde::{Deserialize, Serialize};

/// Use of resources. Cumulative numbers count from the start of the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatistics {
    /// Container.
    pub id: String,
    /// Now, without what the kernel would drop first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_usage_bytes: Option<u64>,
    /// Limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Cumulative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_usage_usec: Option<u64>,
    /// Cumulative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_rx_bytes: Option<u64>,
    /// Cumulative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_tx_bytes: Option<u64>,
    /// Cumulative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_read_bytes: Option<u64>,
    /// Cumulative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_write_bytes: Option<u64>,
    /// Now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_processes: Option<u64>,
}

/// A process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessEntry {
    /// Process id, as the container sees it.
    pub pid: u32,
    /// Parent; 0 for one that was started from outside.
    pub parent_pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Processor time used so far.
    pub cpu_time_ms: u64,
    /// RFC 3339, whole seconds, UTC.
    pub started_date: String,
    /// Time since then.
    pub age_ms: u64,
    /// "pts/0"; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// Words of the command line, or the name in brackets.
    pub command: String,
    /// Of the executable.
    #[serde(default)]
    pub name: String,
    /// One letter, proc_pid_stat(5).
    #[serde(default)]
    pub state: String,
    /// Lower ones go first.
    #[serde(default)]
    pub nice: i32,
    /// How many.
    #[serde(default)]
    pub threads: u32,
    /// Process group.
    #[serde(default)]
    pub process_group: u32,
    /// Session.
    #[serde(default)]
    pub session: u32,
    /// Address space.
    #[serde(default)]
    pub virtual_memory_bytes: u64,
    /// What of it is in memory.
    #[serde(default)]
    pub resident_memory_bytes: u64,
}
