//! How a registry is spoken to.

use bulkhead_api::registry::RegistryLogin;
use bulkhead_paths::environment;
use clap::{Args, ValueEnum};

/// Flags of a registry.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "REGISTRY OPTIONS")]
pub(crate) struct RegistryFlags {
    /// Protocol of the registry; auto is http for local ones
    #[arg(long, value_enum, default_value_t)]
    scheme: Scheme,
}

/// Protocol of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheme {
    Http,
    Https,
    #[default]
    Auto,
}

impl RegistryFlags {
    /// `None` leaves the choice to the daemon.
    pub(crate) fn scheme(&self) -> Option<String> {
        match self.scheme {
            Scheme::Http => Some("http".to_owned()),
            Scheme::Https => Some("https".to_owned()),
            Scheme::Auto => None,
        }
    }

    /// The login of `CONTAINER_REGISTRY_HOST`, `…_USER` and `…_TOKEN`; the daemon sees to it that only that host gets it.
    #[expect(clippy::unused_self, reason = "a flag of the same group may come to name one")]
    pub(crate) fn login(&self) -> Option<RegistryLogin> {
        environment::registry_login().map(|[server, username, password]| RegistryLogin {
            server,
            username,
            password,
        })
    }
}
