//! User names and passwords of registries.
//!
//! They are looked for in this order; the first that has an entry for the registry decides:
//!
//! 1. our own store, a file of mode 0600, or the credential helper that `registry login` gave them to,
//! 2. `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json`
//!    (containers-auth.json(5)),
//! 3. `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, then `~/.dockercfg`.
//!
//! In a file of Docker's or Podman's, `credHelpers` goes before `credsStore` and that before `auths`. Hosts must be
//! equal, port included: nothing here matches by pattern or prefix. Files of others are read, never written.

mod config_file;
mod error;
mod helper;
mod keyring;
mod login;
mod server;
mod sources;
mod store;

pub use error::CredentialsError;
pub use keyring::{Found, Keyring};
pub use login::Login;
pub use server::server_name;
pub use sources::Sources;
pub use store::Entry;
