//! Every path of the interface. `{…}` are path parameters, percent-encoded by the client.
//!
//! | method and path | body → answer |
//! |---|---|
//! | GET [`STATUS`] | → `SystemStatus` |
//! | GET [`PROPERTIES`] | → `[Property]` |
//! | GET [`DISK_USAGE`] | → `DiskUsage` |
//! | POST [`SHUTDOWN`] | stop all containers and the daemons → 204 |
//! | POST [`END`] | end the apiserver, containers go on → 204 |
//! | GET [`CONTAINERS`]`?all=bool` | → `[ContainerSnapshot]` |
//! | POST [`CONTAINERS`] | `CreateRequest` → `StreamEvent` lines, last `Created` |
//! | POST [`RUN`] | `RunRequest` + descriptors → `StreamEvent` lines |
//! | GET [`CONTAINER`] | → `ContainerSnapshot` |
//! | DELETE [`CONTAINER`]`?force=bool&volumes=bool` | → 204 |
//! | POST [`START`] | `StartRequest` + descriptors → `StreamEvent` lines |
//! | POST [`EXEC`] | `ExecRequest` + descriptors → `StreamEvent` lines |
//! | POST [`STOP`] | `StopRequest` → 204 |
//! | POST [`RESTART`] | `StopRequest` → 204 |
//! | POST [`WAIT`] | → `WaitResponse`, when it has stopped |
//! | POST [`RENAME`] | `RenameRequest` → 204 |
//! | POST [`ATTACH`] | `StartRequest` + descriptors → `StreamEvent` lines |
//! | POST [`PRUNE`] | `PruneRequest` → `PruneResponse` |
//! | GET [`EVENTS`]`?sinceUs&untilUs` | → `SystemEvent` lines, those to come as well |
//! | POST [`COMMIT`] | `CommitRequest` → `StreamEvent` lines, last `ImageMade` |
//! | POST [`UPDATE`] | `UpdateRequest` → `UpdateResponse` |
//! | POST [`KILL`] | `SignalRequest` → 204 |
//! | POST [`PAUSE`], [`UNPAUSE`] | → 204 |
//! | POST [`PACK`] | `PackRequest` + descriptor for the archive → `StreamEvent` lines, last `Exited` |
//! | POST [`EXTRACT`] | `ExtractRequest` + descriptor of the archive → `StreamEvent` lines, last `Exited` |
//! | POST [`EXPORT`] | descriptor for the archive → `StreamEvent` lines, last `Exited` |
//! | GET [`CHANGES`] | → `[Change]` |
//! | GET [`PROCESSES`] | → `[ProcessEntry]` |
//! | GET [`STATISTICS`] | → `ContainerStatistics` |
//! | POST [`SIGNAL`] | `SignalRequest` → 204 |
//! | POST [`RESIZE`] | `ResizeRequest` → 204 |
//! | GET [`LOGS`]`?follow&tail&boot&sinceUs&untilUs&timestamps` | → raw bytes: of stdout and stderr interleaved as 8-byte-header frames, see [`LOGS`] |
//! | GET [`IMAGES`] | → `[ImageResource]` |
//! | GET [`IMAGE_NAMES`] | → `[String]`, those of damaged images as well |
//! | GET [`IMAGE`]`?reference=` | → `ImageResource` |
//! | DELETE [`IMAGE`]`?reference=` | → 204 |
//! | GET [`IMAGE_HISTORY`]`?reference=&platform=` | → `[HistoryStep]`, the last step first |
//! | POST [`IMAGE_PULL`] | `PullRequest` → `StreamEvent` lines |
//! | POST [`IMAGE_LOAD`] | `LoadRequest` + one descriptor → `StreamEvent` lines |
//! | POST [`IMAGE_IMPORT`] | `ImportRequest` + one descriptor → `StreamEvent` lines, last `ImageMade` |
//! | POST [`IMAGE_PUSH`] | `PushRequest` → `StreamEvent` lines |
//! | POST [`IMAGE_SAVE`] | `SaveRequest` + one descriptor for the archive → `StreamEvent` lines |
//! | POST [`IMAGE_PRUNE`] | `PruneImagesRequest` → `PruneImagesResponse` |
//! | POST [`IMAGE_VERIFY`] | `VerifyImageRequest` → `VerifyImageResponse` |
//! | POST [`IMAGE_TAG`] | `TagRequest` → 204 |
//! | GET [`REGISTRIES`] | → `[RegistryResource]` |
//! | POST [`REGISTRIES`] | `LoginRequest` → 204 |
//! | DELETE [`REGISTRY`]`?server=` | → 204 |
//! | GET [`NETWORKS`] | → `[NetworkResource]` |
//! | POST [`NETWORKS`] | `NetworkCreateRequest` → `NetworkResource` |
//! | GET [`NETWORK`] | → `NetworkResource` |
//! | DELETE [`NETWORK`] | → 204 |
//! | POST [`NETWORK_CONNECT`] | `NetworkConnectRequest` → 204 |
//! | POST [`NETWORK_DISCONNECT`] | `NetworkDisconnectRequest` → 204 |
//! | POST [`PRUNE_NETWORKS`] | → `NetworkPruneResponse` |
//! | GET [`DOMAINS`] | → `[String]` |
//! | POST [`DOMAINS`] | `DomainCreateRequest` → `DomainCreateResponse` |
//! | DELETE [`DOMAIN`] | → 204 |
//! | GET [`VOLUMES`] | → `[VolumeResource]` |
//! | POST [`VOLUMES`] | `CreateVolumeRequest` → `VolumeResource` |
//! | GET [`VOLUME`] | → `VolumeResource` |
//! | DELETE [`VOLUME`] | → 204 |
//! | POST [`PRUNE_VOLUMES`] | → `PruneVolumesResponse` |
//!
//! Every failure is an `ApiError` body with its status. An event stream that has begun reports
//! failure as its last line, `Failed`.

/// System status.
pub const STATUS: &str = "/v1/system/status";
/// Configured values in force.
pub const PROPERTIES: &str = "/v1/system/properties";
/// What takes how much of the disk.
pub const DISK_USAGE: &str = "/v1/system/disk-usage";
/// Shut everything down.
pub const SHUTDOWN: &str = "/v1/system/shutdown";
/// End the apiserver alone.
pub const END: &str = "/v1/system/end";
/// All containers.
pub const CONTAINERS: &str = "/v1/containers";
/// Create and start in one request.
pub const RUN: &str = "/v1/run";
/// One container.
pub const CONTAINER: &str = "/v1/containers/{id}";
/// Start it.
pub const START: &str = "/v1/containers/{id}/start";
/// Run a further process.
pub const EXEC: &str = "/v1/containers/{id}/exec";
/// Stop it.
pub const STOP: &str = "/v1/containers/{id}/stop";
/// Stop it, if it runs, and start it.
pub const RESTART: &str = "/v1/containers/{id}/restart";
/// Wait until it has stopped.
pub const WAIT: &str = "/v1/containers/{id}/wait";
/// Give it another name.
pub const RENAME: &str = "/v1/containers/{id}/rename";
/// Connect a client to its first process, in place of the one before.
pub const ATTACH: &str = "/v1/containers/{id}/attach";
/// Remove stopped ones.
pub const PRUNE: &str = "/v1/prune/containers";
/// What happened and happens.
pub const EVENTS: &str = "/v1/events";
/// Signal its first process; KILL waits for the end.
pub const KILL: &str = "/v1/containers/{id}/kill";
/// Make an image of what it is.
pub const COMMIT: &str = "/v1/containers/{id}/commit";
/// Change what it was created with.
pub const UPDATE: &str = "/v1/containers/{id}/update";
/// Freeze its processes.
pub const PAUSE: &str = "/v1/containers/{id}/pause";
/// Let them go on.
pub const UNPAUSE: &str = "/v1/containers/{id}/unpause";
/// Read its files.
pub const PACK: &str = "/v1/containers/{id}/files/pack";
/// Write its files.
pub const EXTRACT: &str = "/v1/containers/{id}/files/extract";
/// Read its whole root.
pub const EXPORT: &str = "/v1/containers/{id}/export";
/// How its root differs from its image.
pub const CHANGES: &str = "/v1/containers/{id}/changes";
/// Its processes.
pub const PROCESSES: &str = "/v1/containers/{id}/processes";
/// Its use of resources.
pub const STATISTICS: &str = "/v1/containers/{id}/statistics";
/// Signal one process.
pub const SIGNAL: &str = "/v1/containers/{id}/processes/{process}/signal";
/// Resize one terminal.
pub const RESIZE: &str = "/v1/containers/{id}/processes/{process}/resize";
/// Logs: each chunk is one byte of stream (1 stdout, 2 stderr), three zero bytes, a u32 big-endian
/// length and that many bytes, the framing of the Docker Engine API.
pub const LOGS: &str = "/v1/containers/{id}/logs";
/// All images.
pub const IMAGES: &str = "/v1/images";
/// The names of all images.
pub const IMAGE_NAMES: &str = "/v1/images/names";
/// One image, named by the query.
pub const IMAGE: &str = "/v1/image";
/// How one image came to be, named by the query.
pub const IMAGE_HISTORY: &str = "/v1/image/history";
/// Pull.
pub const IMAGE_PULL: &str = "/v1/images/pull";
/// Load.
pub const IMAGE_LOAD: &str = "/v1/images/load";
/// Make an image of a root file system.
pub const IMAGE_IMPORT: &str = "/v1/images/import";
/// Push.
pub const IMAGE_PUSH: &str = "/v1/images/push";
/// Save.
pub const IMAGE_SAVE: &str = "/v1/images/save";
/// Remove unused ones.
pub const IMAGE_PRUNE: &str = "/v1/prune/images";
/// Compare with its digests, and mend.
pub const IMAGE_VERIFY: &str = "/v1/images/verify";
/// Tag.
pub const IMAGE_TAG: &str = "/v1/images/tag";
/// Registries that the user is logged in to.
pub const REGISTRIES: &str = "/v1/registries";
/// One registry, named by the query.
pub const REGISTRY: &str = "/v1/registry";
/// All networks.
pub const NETWORKS: &str = "/v1/networks";
/// One network.
pub const NETWORK: &str = "/v1/networks/{name}";
/// Have a stopped container join it from its next start on.
pub const NETWORK_CONNECT: &str = "/v1/networks/{name}/connect";
/// Have a stopped container join it no more.
pub const NETWORK_DISCONNECT: &str = "/v1/networks/{name}/disconnect";
/// Remove those that no container refers to.
pub const PRUNE_NETWORKS: &str = "/v1/prune/networks";
/// Domains by which the host finds containers.
pub const DOMAINS: &str = "/v1/domains";
/// One domain.
pub const DOMAIN: &str = "/v1/domains/{name}";
/// All volumes.
pub const VOLUMES: &str = "/v1/volumes";
/// One volume.
pub const VOLUME: &str = "/v1/volumes/{name}";
/// Remove volumes that no container has.
pub const PRUNE_VOLUMES: &str = "/v1/prune/volumes";
