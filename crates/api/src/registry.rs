//! Registries that the user is logged in to.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One entry of `registry list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryResource {
    /// Host and port.
    pub id: String,
    /// The same.
    pub name: String,
    /// The user's name there.
    pub username: String,
    /// RFC 3339, whole seconds, UTC: of the first login.
    pub creation_date: String,
    /// RFC 3339, whole seconds, UTC: of the latest login.
    pub modification_date: String,
    /// None so far.
    pub labels: BTreeMap<String, String>,
}

/// Checks a login with the registry and keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginRequest {
    /// Whose, and the registry.
    pub login: RegistryLogin,
    /// http, https or auto.
    pub scheme: Option<String>,
}

/// A login that travels with a request, for that registry alone. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryLogin {
    /// Registry as the user wrote it.
    pub server: String,
    /// The user's name there.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryLogin").field("server", &self.server).finish_non_exhaustive()
    }
}
