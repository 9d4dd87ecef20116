//! Every environment variable that Bulkhead reads, declared once.

/// Moves the app root. Absolute path.
pub const APP_ROOT: &str = "CONTAINER_APP_ROOT";
/// Moves the log root. Absolute path.
pub const LOG_ROOT: &str = "CONTAINER_LOG_ROOT";
/// Moves the runtime root. Absolute path, short: sockets below it must fit `sun_path`.
pub const RUNTIME_ROOT: &str = "CONTAINER_RUNTIME_ROOT";
/// Moves the install root. Absolute path.
pub const INSTALL_ROOT: &str = "CONTAINER_INSTALL_ROOT";
/// Any value turns on debug output of the command line.
pub const DEBUG: &str = "CONTAINER_DEBUG";
/// Platform of run, create, pull, push and save when no flag names one.
pub const DEFAULT_PLATFORM: &str = "CONTAINER_DEFAULT_PLATFORM";
/// Registry that [`REGISTRY_USER`] and [`REGISTRY_TOKEN`] are for; they go to no other.
pub const REGISTRY_HOST: &str = "CONTAINER_REGISTRY_HOST";
/// User name at [`REGISTRY_HOST`].
pub const REGISTRY_USER: &str = "CONTAINER_REGISTRY_USER";
/// Password or token at [`REGISTRY_HOST`].
pub const REGISTRY_TOKEN: &str = "CONTAINER_REGISTRY_TOKEN";
/// Log filter of the daemons, in tracing's directive syntax.
pub const LOG: &str = "CONTAINER_LOG";
