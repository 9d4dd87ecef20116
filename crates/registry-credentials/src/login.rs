//! A user name with its secret.

use std::fmt;

/// A user name and its password or access token, or an identity token. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name at the registry.
    pub username: String,
    /// Password or token.
    pub secret: String,
    /// Whether `secret` is an identity token, which is exchanged for access tokens; `username` is empty then.
    pub is_identity_token: bool,
}

impl Login {
    /// A user name with a password or access token.
    #[must_use]
    pub fn new(username: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { username: username.into(), secret: secret.into(), is_identity_token: false }
    }

    /// What Docker keeps where a token service issued an identity token at the login.
    #[must_use]
    pub fn identity_token(token: impl Into<String>) -> Self {
        Self { username: String::new(), secret: token.into(), is_identity_token: true }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login(…)")
    }
}
