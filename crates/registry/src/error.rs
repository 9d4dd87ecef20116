//! What can go wrong with a registry, in words for its user.

use bulkhead_oci::Digest;
use thiserror::Error;

/// Why a registry did not give what was asked for. Texts that came from the registry are escaped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// A certificate for the registry is unusable.
    #[error("cannot use the certificate '{}'", path.display())]
    Certificate {
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is configured for the registry is unusable.
    #[error("cannot use '{}'", path.display())]
    Configuration {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The registry's name makes no URL.
    #[error("`{registry}` is not a registry address")]
    Address {
        /// What was given, escaped.
        registry: String,
    },
    /// No such repository, tag or digest.
    #[error("`{name}` was not found in the registry{detail}")]
    NotFound {
        /// The full name.
        name: String,
        /// What the registry said, with `: ` before it; may be empty.
        detail: String,
    },
    /// The registry wants credentials, or other ones than it got.
    #[error("{registry} refuses access: {hint}{detail}")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What to do.
        hint: String,
        /// What the registry said, with `: ` before it; may be empty.
        detail: String,
    },
    /// No connection, no answer, or an interrupted one.
    #[error("cannot reach {registry}")]
    Unreachable {
        /// The host.
        registry: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The registry does not prove who it is.
    #[error("the certificate of {registry} is not accepted: {reason}")]
    Untrusted {
        /// The host.
        registry: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Nothing, or next to nothing, arrived for too long.
    #[error("{registry} stopped sending: nothing useful arrived for {waited_seconds} s")]
    Stalled {
        /// The host.
        registry: String,
        /// How long.
        waited_seconds: u64,
    },
    /// An answer that says neither yes nor no.
    #[error("{registry} answered with status {status}{detail}")]
    Status {
        /// The host.
        registry: String,
        /// HTTP status.
        status: u16,
        /// What the registry said, with `: ` before it; may be empty.
        detail: String,
    },
    /// A redirection that must not be followed.
    #[error("{registry} redirects to a place that is not followed: {reason}")]
    Redirect {
        /// The host.
        registry: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The token service gave no token.
    #[error("the token service of {registry} gave no usable token: {reason}")]
    Token {
        /// The registry.
        registry: String,
        /// Why.
        reason: &'static str,
    },
    /// An answer that is larger than its kind may be.
    #[error("{registry} sent more than {limit_bytes} bytes as {what}")]
    TooLarge {
        /// The host.
        registry: String,
        /// `a manifest`, `a token`.
        what: &'static str,
        /// The limit.
        limit_bytes: usize,
    },
    /// Bytes that are not what their digest says.
    #[error("{registry} sent a wrong blob for {expected}: its content has the digest {actual}")]
    DigestMismatch {
        /// The host.
        registry: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The local copy of a blob is unreadable, or not what its digest says.
    #[error("the stored blob {digest} is damaged")]
    Source {
        /// The blob.
        digest: Digest,
        /// Why it cannot be read, if that is what is wrong.
        #[source]
        source: Option<std::io::Error>,
    },
    /// More or fewer bytes than the descriptor says.
    #[error(
        "{registry} sent blob {digest} with {actual_bytes} bytes or more, its descriptor says {expected_bytes}"
    )]
    SizeMismatch {
        /// The host.
        registry: String,
        /// The blob.
        digest: Digest,
        /// By its descriptor.
        expected_bytes: u64,
        /// Received, or announced by the registry.
        actual_bytes: u64,
    },
    /// The body ended early, again and again.
    #[error("{registry} sent only {received_bytes} of {expected_bytes} bytes of blob {digest}")]
    Truncated {
        /// The host.
        registry: String,
        /// The blob.
        digest: Digest,
        /// Received.
        received_bytes: u64,
        /// By its descriptor.
        expected_bytes: u64,
    },
}

impl RegistryError {
    /// Whether it was no answer that came: no connection, or a broken one.
    #[must_use]
    pub fn is_without_answer(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Stalled { .. })
    }

    /// Whether somebody waited in vain. A name without address, or a closed port, is told at once.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_timeout(),
            Self::Stalled { .. } => true,
            _ => false,
        }
    }
}

/// Text from a stranger, fit to be shown: one short line without control characters.
pub(crate) fn presentable(text: &str) -> String {
    let line: String = text
        .chars()
        .take(200)
        .flat_map(|character| {
            let keep = !character.is_control();
            keep.then_some(character).into_iter().chain((!keep).then_some(' '))
        })
        .collect();
    line.trim().to_owned()
}
