//! All that a helper needs to run one container, in one message.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One container and its VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuntimeSpecification {
    /// Validated container id.
    pub container_id: String,
    /// Host directory for logs, disk and exit status; exists, private.
    pub durable_directory: PathBuf,
    /// Host directory for sockets; exists, private, short.
    pub runtime_directory: PathBuf,
    /// The machine.
    pub vmm: VmmSpecification,
    /// From the lowest to the highest.
    pub layers: Vec<ImageLayer>,
    /// What runs programs of other architectures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emulators: Vec<Emulator>,
    /// The container's ext4 disk.
    pub writable_disk: PathBuf,
    /// Further ext4 disks, which outlive the container.
    #[serde(default)]
    pub volumes: Vec<VolumeDisk>,
    /// What of the host's files the guest may see.
    #[serde(default)]
    pub folders: Vec<SharedFolder>,
    /// Mount the root read-only for the container.
    pub read_only: bool,
    /// Host name in the guest.
    pub hostname: String,
    /// Each has its packet socket among the descriptors, in this order.
    pub networks: Vec<NetworkAttachment>,
    /// resolv.conf.
    pub dns: Option<DnsSettings>,
    /// Lines of /etc/hosts beyond localhost and the own name: address, names.
    pub extra_hosts: Vec<(String, String)>,
    /// Further mounts, in order.
    pub mounts: Vec<MountSpecification>,
    /// Absolute paths.
    pub masked_paths: Vec<String>,
    /// Of built-ins: places of mounts that are not there now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered_paths: Vec<CoveredPath>,
    /// Absolute paths.
    pub readonly_paths: Vec<String>,
    /// Guest sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Memory limit of the container's cgroup in the guest; 0 for none.
    pub container_memory_bytes: u64,
    /// CPU limit of the container's cgroup in hundredths of a CPU; 0 for none.
    pub container_cpu_percent: u64,
    /// Limit of processes in the container; 0 for none.
    pub container_pids: u64,
    /// /dev/shm; 0 for the default of 64 MiB.
    pub shm_size_bytes: u64,
    /// Put a reaping init in front of the process.
    pub init: bool,
    /// Show the container every device of the guest and a writable /sys.
    pub privileged: bool,
    /// Absolute paths of further devices of the guest that the container sees.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Sockets of the container that the helper offers on the host.
    pub published_sockets: Vec<SocketPublication>,
    /// Sockets of the host to which the container may connect.
    #[serde(default)]
    pub host_sockets: Vec<HostSocket>,
    /// The container's first process.
    pub process: ProcessSpecification,
    /// Bounds of the log files.
    pub log_limits: LogLimits,
    /// Skip the orderly power-off: the writable disk is deleted afterwards.
    pub discard_disk: bool,
}

/// A place of a container that does not run, where something empty is that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CoveredPath {
    /// Absolute path in the container.
    pub path: String,
    /// What is made where nothing is: a directory, or else a file.
    pub is_directory: bool,
}

/// A Unix socket of the container on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SocketPublication {
    /// Where the helper listens; absolute, nothing is there yet.
    pub host_path: PathBuf,
    /// Absolute path in the container.
    pub container_path: String,
    /// Mode bits of the host's socket.
    pub permissions: u32,
}

/// A Unix socket of the host, offered to the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSocket {
    /// Absolute path in the container.
    pub container_path: String,
    /// What is connected to.
    pub source: HostSocketSource,
}

/// Where a socket of the host is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostSocketSource {
    /// The user's SSH agent, by its path at each connection; absent when the user has none: connections
    /// are then closed.
    Agent(Option<PathBuf>),
    /// A socket that is there at the start. Its directory is looked up once, the name in there at each
    /// connection, so that a server may restart; where the guest itself could put another socket in its
    /// place, it stays the socket that it was.
    Mount(PathBuf),
}

/// Which backend runs the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VmmKind {
    /// User-Mode Linux.
    Uml,
    /// QEMU.
    Qemu,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmmSpecification {
    /// Backend.
    pub kind: VmmKind,
    /// Kernel image or, for User-Mode Linux, executable.
    pub kernel: PathBuf,
    /// Uncompressed cpio with vminitd as /init.
    pub initial_ramdisk: PathBuf,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Virtual CPUs; User-Mode Linux always runs one.
    pub cpus: u32,
    /// Appended to the kernel command line.
    pub kernel_arguments: Vec<String>,
}

/// One EROFS blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageLayer {
    /// Host file.
    pub path: PathBuf,
    /// Its length, a multiple of 4096.
    pub length_bytes: u64,
}

/// An EROFS image with a static program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Emulator {
    /// Of the programs that it runs, in the words of the OCI image specification.
    pub architecture: String,
    /// The image.
    pub image: ImageLayer,
}

/// The disk of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeDisk {
    /// For messages.
    pub name: String,
    /// Host file.
    pub path: PathBuf,
    /// The guest may not write.
    pub read_only: bool,
}

/// A folder or file of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedFolder {
    /// Absolute; links are followed once, at the start.
    pub path: PathBuf,
    /// A regular file, of which nothing around it is seen.
    pub is_file: bool,
    /// The guest may not write.
    pub read_only: bool,
    /// The guest may believe for a moment what it has seen.
    pub relaxed: bool,
}

/// What a mount shows in place of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backing {
    /// This entry of `RuntimeSpecification::volumes`.
    Volume(usize),
    /// This entry of `RuntimeSpecification::folders`.
    Folder(usize),
}

/// One network interface of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkAttachment {
    /// Name in the guest: eth0, eth1, ...
    pub interface: String,
    /// "02:00:00:00:00:05"
    pub mac_address: String,
    /// With prefix length: "192.168.64.5/24".
    pub addresses: Vec<String>,
    /// Default gateway.
    pub ipv4_gateway: Option<String>,
    /// Default gateway.
    pub ipv6_gateway: Option<String>,
    /// Bytes.
    pub mtu: u32,
}

/// Contents of resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsSettings {
    /// Addresses.
    pub nameservers: Vec<String>,
    /// Local domain.
    pub domain: Option<String>,
    /// Search list.
    pub search_domains: Vec<String>,
    /// resolv.conf(5) options.
    pub options: Vec<String>,
}

/// A mount inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountSpecification {
    /// As in mount(2).
    #[serde(rename = "type")]
    pub kind: String,
    /// As in mount(2).
    pub source: String,
    /// Takes the place of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<Backing>,
    /// Absolute path in the container.
    pub destination: String,
    /// As in mount(8).
    pub options: Vec<String>,
    /// The volume is new: the guest is to fill it with what the image has at `destination`. Once it holds
    /// something, whoever wrote that, the helper makes this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<PathBuf>,
    /// Of a shared volume: the file that is locked while it is filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill_lock: Option<PathBuf>,
    /// The guest is not to fill it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_copy: bool,
}

/// A process in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessSpecification {
    /// argv, never empty.
    pub arguments: Vec<String>,
    /// KEY=VALUE
    pub environment: Vec<String>,
    /// Absolute.
    pub working_directory: String,
    /// "name|uid[:group|gid]"; empty is root.
    pub user: String,
    /// Beyond those of the image's /etc/group.
    pub supplementary_group_ids: Vec<u32>,
    /// The same by name.
    pub supplementary_group_names: Vec<String>,
    /// Give it a terminal.
    pub terminal: bool,
    /// Initial window: rows, columns.
    pub terminal_size: Option<(u16, u16)>,
    /// What lets go of the client when it is typed at its terminal; empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detach_keys: Vec<u8>,
    /// Keep stdin open; /dev/null otherwise.
    pub stdin: bool,
    /// Bit n is capability n.
    pub capabilities: u64,
    /// Resource limits.
    pub resource_limits: Vec<ResourceLimit>,
    /// prctl(PR_SET_NO_NEW_PRIVS)
    pub no_new_privileges: bool,
    /// Run this in place of a program; of the rest only `stdin` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in: Option<BuiltIn>,
}

impl ProcessSpecification {
    /// A process that is part of vminitd. As number 0 it makes the run a maintenance of the container's
    /// files: nothing of the container is started, nothing is logged.
    #[must_use]
    pub fn of_built_in(work: BuiltIn) -> Self {
        Self {
            arguments: Vec::new(),
            environment: Vec::new(),
            working_directory: "/".to_owned(),
            user: String::new(),
            supplementary_group_ids: Vec::new(),
            supplementary_group_names: Vec::new(),
            detach_keys: Vec::new(),
            terminal: false,
            terminal_size: None,
            stdin: matches!(work, BuiltIn::ExtractArchive { .. }),
            capabilities: 0,
            resource_limits: Vec::new(),
            no_new_privileges: false,
            built_in: Some(work),
        }
    }
}

/// What vminitd does itself; see `BuiltIn` of guest.proto. Paths are absolute and of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum BuiltIn {
    /// Tree to stdout.
    PackTree {
        /// Of the tree.
        path: String,
        /// Follow a link at the end of the path.
        follow_link: bool,
        /// What the top is called in the archive.
        name: String,
    },
    /// Archive from stdin.
    ExtractArchive {
        /// Of the destination.
        path: String,
        /// Any archive, for an existing directory; else one tree whose top is ".".
        unpack: bool,
        /// Last name of the source's path.
        source_name: String,
        /// The source was named "dir/.".
        contents_only: bool,
        /// Else everything belongs to root.
        keep_owner: bool,
    },
    /// The root to stdout, the container's processes frozen.
    Export,
    /// `Change` frames to stdout.
    ListChanges,
    /// The layer of an image that they are to stdout.
    PackChanges {
        /// The container's processes are frozen meanwhile.
        freeze: bool,
    },
    /// `ProcessEntry` frames to stdout.
    ListProcesses,
    /// Nothing beyond what every start does with new volumes.
    FillVolumes,
}

/// One setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceLimit {
    /// RLIMIT_* number.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Bounds of a container's log files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogLimits {
    /// A file that grows beyond is renamed to `<name>.1`, that one to `<name>.2` and so on, and started anew.
    pub maximum_file_bytes: u64,
    /// Most files, the one that is written included; 0 keeps no log at all.
    #[serde(default = "LogLimits::default_files")]
    pub maximum_files: u32,
}

impl LogLimits {
    fn default_files() -> u32 {
        Self::default().maximum_files
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { maximum_file_bytes: 64 * 1024 * 1024, maximum_files: 2 }
    }
}
