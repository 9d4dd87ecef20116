//! Bodies of requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{
    Device, DnsConfiguration, ExtraHost, Mount, NetworkConfiguration, PublishedPort, PublishedSocket,
};
use crate::detach_keys::DetachKeys;
use crate::egress::EgressPolicy;
use crate::health::HealthCheckRequest;
use crate::log::LogConfiguration;
use crate::process::{ResourceLimit, User};
use crate::registry::RegistryLogin;
use crate::restart::RestartPolicy;

/// Creates a container: the flags of `run` and `create`, before the image's defaults are merged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CreateRequest {
    /// Image reference as the user wrote it.
    pub image: String,
    /// Wanted id; a lower-case UUID when absent.
    pub id: Option<String>,
    /// Words after the image.
    pub arguments: Vec<String>,
    /// Replaces the image's entrypoint; empty string clears it.
    pub entrypoint: Option<String>,
    /// KEY=VALUE, later ones win over earlier and over the image's.
    pub environment: Vec<String>,
    /// Replaces the image's.
    pub working_directory: Option<String>,
    /// Replaces the image's.
    pub user: Option<User>,
    /// Names or ids of groups beyond those of the image's /etc/group.
    pub groups: Vec<String>,
    /// Give the process a terminal.
    pub terminal: bool,
    /// Keep stdin open.
    pub interactive: bool,
    /// Resource limits.
    pub rlimits: Vec<ResourceLimit>,
    /// Default of the configuration when absent.
    pub cpus: Option<u32>,
    /// Hundredths of a CPU, where a fraction of `cpus` is wanted.
    pub cpu_percent: Option<u64>,
    /// Default of the configuration when absent.
    pub memory_in_bytes: Option<u64>,
    /// Absent: the default network. Empty: none.
    pub networks: Option<Vec<NetworkConfiguration>>,
    /// What it may begin connections to; absent: whatever its networks let it.
    pub egress: Option<EgressPolicy>,
    /// resolv.conf; without name servers, or absent: the gateway of the first network.
    pub dns: Option<DnsConfiguration>,
    /// Leave resolv.conf as the image has it.
    pub no_dns: bool,
    /// Host name; the first label of the id when absent.
    pub hostname: Option<String>,
    /// Further lines of /etc/hosts.
    pub extra_hosts: Vec<ExtraHost>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Containers whose volumes and folders it gets, where it has no mount of its own.
    pub volumes_from: Vec<VolumesFrom>,
    /// Ports.
    pub published_ports: Vec<PublishedPort>,
    /// Publish each port that the image or `exposed_ports` name at any free port of the host, unless
    /// `published_ports` has it.
    pub publish_all: bool,
    /// `port[-port][/tcp|udp]` that the container listens on beside those of its image.
    pub exposed_ports: Vec<String>,
    /// Sockets.
    pub published_sockets: Vec<PublishedSocket>,
    /// Capabilities.
    pub cap_add: Vec<String>,
    /// Capabilities.
    pub cap_drop: Vec<String>,
    /// Every capability and device of the guest, no path hidden or read-only.
    pub privileged: bool,
    /// Processes gain no rights by executing a program.
    pub no_new_privileges: bool,
    /// Most processes and threads at once; unlimited when absent.
    pub pids_limit: Option<u64>,
    /// Read-only root.
    pub read_only: bool,
    /// Remove when it stops.
    pub auto_remove: bool,
    /// Reaping init.
    pub init: bool,
    /// /dev/shm
    pub shm_size: Option<u64>,
    /// Beyond the default list; `NONE` empties it.
    pub masked_paths: Vec<String>,
    /// Beyond the default list; `NONE` empties it.
    pub readonly_paths: Vec<String>,
    /// os/arch[/variant]; the host's when absent.
    pub platform: Option<String>,
    /// http, https or auto: how to pull when the image is missing.
    pub scheme: Option<String>,
    /// Layers at once when the image is pulled.
    pub maximum_concurrent_downloads: Option<usize>,
    /// Guest kernel.
    pub kernel: Option<String>,
    /// Appended to the guest kernel's command line; each replaces the guest's own of that name.
    pub kernel_arguments: Vec<String>,
    /// Image whose vminitd is the guest's init.
    pub init_image: Option<String>,
    /// Guest sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Signal of `stop`.
    pub stop_signal: Option<String>,
    /// Seconds that `stop` waits before KILL.
    pub stop_timeout_seconds: Option<u64>,
    /// When it is started again.
    pub restart_policy: RestartPolicy,
    /// How its health is checked.
    pub health_check: HealthCheckRequest,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// Of its machine, beyond those that every container has.
    pub devices: Vec<Device>,
    /// What is kept of its output.
    pub log: LogConfiguration,
    /// Do not tell that it is pulled.
    pub quiet: bool,
    /// Run programs of all architectures that there are emulators of, beside those of the image.
    #[serde(default)]
    pub rosetta: bool,
    /// Forward the SSH agent.
    pub ssh: bool,
    /// Before all logins that the daemon knows.
    pub registry_login: Option<RegistryLogin>,
}

/// A container whose volumes and folders another gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumesFrom {
    /// Id.
    pub id: String,
    /// To be read only, even what that one may write.
    pub read_only: bool,
}

/// Creates and starts. Descriptors of an attached run travel with the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunRequest {
    /// What to create.
    pub create: CreateRequest,
    /// How to start it.
    pub start: StartRequest,
}

/// Starts a created or stopped container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StartRequest {
    /// What the passed descriptors are, in order: a subset of stdin, stdout, stderr, terminal.
    /// Empty: detached; the event stream then ends with `Started`.
    pub descriptors: Vec<StreamKind>,
    /// Window of the terminal: rows, columns.
    pub terminal_size: Option<(u16, u16)>,
    /// The user's SSH agent, for a container that was created with `ssh`.
    pub ssh_agent_socket: Option<String>,
    /// Typed at the terminal, they let go of it; absent: nothing does.
    pub detach_keys: Option<DetachKeys>,
}

/// When the image of a new container is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PullPolicy {
    /// When it is not here.
    #[default]
    Missing,
    /// In any case.
    Always,
    /// Not even when it is not here.
    Never,
}

/// What a passed descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StreamKind {
    /// Read by the container.
    Stdin,
    /// Written by the container.
    Stdout,
    /// Written by the container.
    Stderr,
    /// Both, in raw mode.
    Terminal,
}

/// Runs a further process in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExecRequest {
    /// argv, never empty.
    pub arguments: Vec<String>,
    /// Added to the container's.
    pub environment: Vec<String>,
    /// The container's when absent.
    pub working_directory: Option<String>,
    /// The container's when absent.
    pub user: Option<User>,
    /// Names or ids of groups beyond those of the image's /etc/group.
    pub groups: Vec<String>,
    /// Every capability, whatever the container has.
    pub privileged: bool,
    /// Give it a terminal.
    pub terminal: bool,
    /// Keep stdin open.
    pub interactive: bool,
    /// Resource limits.
    pub rlimits: Vec<ResourceLimit>,
    /// Streams, as in [`StartRequest`]; empty: detached.
    pub start: StartRequest,
}

/// Sends a signal to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignalRequest {
    /// Number or name, with or without SIG, any case.
    pub signal: String,
}

/// New size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResizeRequest {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// Stops a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StopRequest {
    /// Absent: the container's stop signal, else TERM.
    pub signal: Option<String>,
    /// Seconds until KILL; when absent the container's, else 5.
    pub timeout_seconds: Option<u64>,
}

/// Gives a stopped container another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameRequest {
    /// New id.
    pub id: String,
}

/// Makes an image of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CommitRequest {
    /// Name of the image as the user wrote it; absent: it has none.
    pub reference: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// Note of its history.
    pub message: Option<String>,
    /// Instructions of a Dockerfile.
    pub changes: Vec<String>,
    /// Freeze its processes meanwhile.
    pub pause: bool,
}

/// Changes what a container was created with; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpdateRequest {
    /// From now on.
    pub restart_policy: Option<RestartPolicy>,
    /// From the next start on.
    pub cpus: Option<u32>,
    /// Hundredths of a CPU, where a fraction of `cpus` is wanted.
    pub cpu_percent: Option<u64>,
    /// From the next start on.
    pub memory_in_bytes: Option<u64>,
    /// From the next start on; 0: unlimited.
    pub pids_limit: Option<u64>,
}

/// Answer to `update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateResponse {
    /// It runs, and some of it counts from its next start on.
    pub waits_for_start: bool,
}

/// Answer to `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitResponse {
    /// Of the last run; 0 when there was none.
    pub exit_code: i32,
}

/// Removes those of these containers that do not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PruneRequest {
    /// Ids.
    pub ids: Vec<String>,
}

/// Answer to `prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneResponse {
    /// What was removed.
    pub ids: Vec<String>,
    /// What it occupied.
    pub reclaimed_bytes: u64,
}

/// Query of `events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventsQuery {
    /// Unix time in microseconds: earlier events first, as far as they are remembered.
    pub since_us: Option<i64>,
    /// Unix time in microseconds: end then, at once if it has passed.
    pub until_us: Option<i64>,
}

/// Query of `logs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogsQuery {
    /// Go on until the container stops.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// The console of the VM.
    pub boot: bool,
    /// Only what was written then or later; Unix time in microseconds.
    pub since_us: Option<i64>,
    /// Only what was written until then; with `follow`, the end.
    pub until_us: Option<i64>,
    /// Begin each line with its time.
    pub timestamps: bool,
}

/// Pulls an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PullRequest {
    /// As the user wrote it.
    pub reference: String,
    /// os/arch[/variant]; the host's when absent.
    pub platform: Option<String>,
    /// http, https or auto.
    pub scheme: Option<String>,
    /// Layers at once; 3 when absent.
    pub maximum_concurrent_downloads: Option<usize>,
    /// Before all logins that the daemon knows.
    pub registry_login: Option<RegistryLogin>,
}

/// Pushes an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PushRequest {
    /// As the user wrote it.
    pub reference: String,
    /// os/arch[/variant]; all platforms of the image when absent.
    pub platform: Option<String>,
    /// http, https or auto.
    pub scheme: Option<String>,
    /// Before all logins that the daemon knows.
    pub registry_login: Option<RegistryLogin>,
}

/// Loads an archive, whose descriptor travels with the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadRequest {
    /// Name in error messages: the path or `stdin`.
    pub source: String,
}

/// Makes an image of a root file system, the descriptor of whose archive travels with the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImportRequest {
    /// Name in messages: the path or `stdin`.
    pub source: String,
    /// Name of the image as the user wrote it; absent: it has none.
    pub reference: Option<String>,
    /// Note of its history.
    pub message: Option<String>,
    /// Instructions of a Dockerfile.
    pub changes: Vec<String>,
    /// os/arch[/variant]; the host's when absent.
    pub platform: Option<String>,
}

/// Saves images as an archive, into a descriptor that travels with the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SaveRequest {
    /// As the user wrote them.
    pub references: Vec<String>,
    /// os/arch[/variant]; all platforms that are here when absent.
    pub platform: Option<String>,
}

/// Removes images that nobody needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PruneImagesRequest {
    /// All that no container was created from, not only those without a tag.
    pub all: bool,
}

/// Answer to `image prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneImagesResponse {
    /// Names that were removed, sorted.
    pub references: Vec<String>,
    /// Digests of the content that was removed, sorted.
    pub digests: Vec<String>,
    /// Disk space that came free.
    pub reclaimed_bytes: u64,
}

/// Reads all of an image and compares it with its digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyImageRequest {
    /// Existing reference.
    pub reference: String,
}

/// Answer to `image verify` of an image that is whole now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyImageResponse {
    /// The full name.
    pub reference: String,
    /// DiffIDs of layers that were damaged and made anew.
    pub repaired: Vec<String>,
}

/// Gives an image a further name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagRequest {
    /// Existing reference.
    pub source: String,
    /// New reference.
    pub target: String,
}
