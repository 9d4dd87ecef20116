//! What a user shows a registry.

use std::fmt;

/// A user name and its password or access token, or an identity token. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    secret: Secret,
}

/// How access is proven.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Goes along with the user name.
    Password(String),
    /// Given to the token service alone, in exchange for an access token (OAuth 2's refresh token).
    IdentityToken(String),
}

impl Credentials {
    /// Credentials for one registry.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), secret: Secret::Password(password.into()) }
    }

    /// A token that the registry's token service issued at a login and exchanges for access tokens.
    #[must_use]
    pub fn identity_token(token: impl Into<String>) -> Self {
        Self { username: String::new(), secret: Secret::IdentityToken(token.into()) }
    }

    /// The user's name at the registry; empty with an identity token.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}
