//! Where Bulkhead keeps its files, and the environment variables that move them.
//!
//! | what | root | other users |
//! |---|---|---|
//! | app root: images, containers, state | `/var/lib/bulkhead` | `$XDG_DATA_HOME/bulkhead` |
//! | log root: daemon logs | `/var/log/bulkhead` | `$XDG_STATE_HOME/bulkhead` |
//! | runtime root: sockets, locks | `/run/bulkhead` | `$XDG_RUNTIME_DIR/bulkhead` |
//! | install root: helpers, kernel, initramfs | two levels above the running binary | the same |
//!
//! Inside the install root: `bin/` (container), `libexec/bulkhead/` (the daemons and helpers),
//! `share/bulkhead/` (kernel, initramfs, demo image), `etc/container/config.toml`.
//!
//! The user's own `config.toml` is `$XDG_CONFIG_HOME/container/config.toml`, else
//! `~/.config/container/config.toml`.

mod container;
pub mod environment;
mod layout;

pub use container::ContainerDirectories;
pub use layout::{Directories, PathsError};
