//! A user name with its secret.

use std::fmt;

/// A user name and its password or access token. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name at the registry.
    pub username: String,
    /// Password or token.
    pub secret: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login(…)")
    }
}
