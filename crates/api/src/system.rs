//! The service itself.

use serde::{Deserialize, Serialize};

/// Answer to `system status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemStatus {
    /// running
    pub status: String,
    /// Images, containers, state.
    pub app_root: String,
    /// Programs, kernel, initramfs.
    pub install_root: String,
    /// Daemon logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_root: Option<String>,
    /// Version.
    pub api_server_version: String,
    /// Git commit.
    pub api_server_commit: String,
    /// debug or release
    pub api_server_build: String,
    /// container-apiserver
    pub api_server_app_name: String,
    /// What is wrong with a configuration file, so that its values do not hold; beyond the compatible keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_problem: Option<String>,
    /// What runs the machines; beyond the compatible keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineSupport>,
    /// Networks, where an ordinary user has them; beyond the compatible keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSupport>,
    /// Folders of the host and shared volumes, where an ordinary user has them; beyond the compatible keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folders: Option<FolderSupport>,
}

/// What this host offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineSupport {
    /// uml or qemu
    pub vmm: String,
    /// The barrier between container and host, in one sentence.
    pub barrier: String,
    /// Why no stronger backend is used.
    pub reason: String,
    /// Most virtual CPUs of a machine; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_cpus: Option<u32>,
    /// What is missing or degraded, each with the command that mends it.
    pub advice: Vec<Advice>,
}

/// What networks can do here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSupport {
    /// rootless
    pub mode: String,
    /// What is other than for root, a clause each.
    pub limits: Vec<String>,
    /// What is missing or degraded, each with the command that mends it.
    pub advice: Vec<Advice>,
}

/// What containers can do with files of the host here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FolderSupport {
    /// What is other than for root, a clause each.
    pub limits: Vec<String>,
    /// What is missing or degraded, each with the command that mends it.
    pub advice: Vec<Advice>,
}

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// What is missing and what it costs.
    pub problem: String,
    /// The command that mends it.
    pub remedy: String,
}

/// A key of the configuration, and its value in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    /// Section of config.toml.
    pub section: String,
    /// Key within it.
    pub key: String,
    /// A number, a text, a truth or a table; null where no file has the key and its default is none of these.
    pub value: serde_json::Value,
    /// What holds without a value, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_value: Option<String>,
    /// The file that says so, or `default`.
    pub origin: String,
    /// Accepted, but nothing follows from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_effect: bool,
}

/// What takes how much of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUsage {
    /// Images; what several share counts once.
    pub images: DiskUsageEntry,
    /// Disks and logs of containers.
    pub containers: DiskUsageEntry,
    /// Volumes.
    pub volumes: DiskUsageEntry,
}

/// Disk space of one kind of things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUsageEntry {
    /// How many there are.
    pub total: u64,
    /// How many are in use.
    pub active: u64,
    /// Disk space that they take, holes left out.
    pub size_in_bytes: u64,
    /// What of it would come free if those that are not in use went.
    pub reclaimable: u64,
}

impl DiskUsageEntry {
    /// Counts one more.
    pub fn add(&mut self, bytes: u64, is_active: bool) {
        self.total += 1;
        self.size_in_bytes = self.size_in_bytes.saturating_add(bytes);
        if is_active {
            self.active += 1;
        } else {
            self.reclaimable = self.reclaimable.saturating_add(bytes);
        }
    }
}
