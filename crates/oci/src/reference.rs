//! Names of images, by the rules that Docker made and everyone follows
//! (github.com/distribution/reference: grammar in `reference.go`, defaults in `normalize.go`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::{Digest, DigestError};

/// The registry that a name without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag that a name without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";

/// `distribution/reference` allows 255 bytes for registry and repository together.
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// Why a text is no image reference.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the image reference is empty")]
    Empty,
    /// More than 255 bytes before tag and digest.
    #[error("the image name is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// The part before the first slash looks like a host but is none.
    #[error("`{registry}` is not a valid registry host")]
    Registry {
        /// What was given, escaped.
        registry: String,
    },
    /// The path breaks the grammar of repository names.
    #[error(
        "`{repository}` is not a valid repository name: use lower-case letters, digits and single separators `.`, `_`, `-`"
    )]
    Repository {
        /// What was given, escaped.
        repository: String,
    },
    /// A name of 64 hexadecimal digits would be confused with an image's id.
    #[error("the repository name cannot be 64 hexadecimal digits")]
    LooksLikeIdentifier,
    /// The part after the last colon breaks the grammar of tags.
    #[error("`{tag}` is not a valid tag: use up to 128 letters, digits, `_`, `.` and `-`")]
    Tag {
        /// What was given, escaped.
        tag: String,
    },
    /// The part after `@` is no digest.
    #[error("the image reference's digest is invalid")]
    Digest(#[source] DigestError),
}

/// A normalised image reference.
///
/// `Display` gives the full name, `docker.io/library/alpine:latest`; [`Self::familiar_name`] the short form that
/// Docker prints, and [`Self::given`] what the user typed.
#[derive(Clone, Debug)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
    given: String,
}

impl Reference {
    /// Parses `text`, completing names without a registry by `default_registry` instead of `docker.io`.
    ///
    /// # Errors
    /// When `text` or `default_registry` breaks the grammar.
    pub fn parse_with_default_registry(text: &str, default_registry: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (name_and_tag, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to the registry's port.
        let path_start = name_and_tag.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name_and_tag[path_start..].split_once(':') {
            Some((last, tag)) => (&name_and_tag[..path_start + last.len()], Some(tag)),
            None => (name_and_tag, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag { tag: tag.escape_default().to_string() });
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(ReferenceError::TooLong);
        }
        let (registry, path) = split_registry(name).unwrap_or((default_registry, name));
        if !is_registry(registry) {
            return Err(ReferenceError::Registry { registry: registry.escape_default().to_string() });
        }
        // The host that old clients wrote into their configuration; the same registry.
        let registry = match registry {
            "index.docker.io" => DEFAULT_REGISTRY.to_owned(),
            // Its capitals alone make it a host: in lower case it would be part of a Docker Hub name when read again.
            host if host != "localhost" && !host.contains(['.', ':', '[']) => host.to_owned(),
            host => host.to_ascii_lowercase(),
        };
        if !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Repository { repository: path.escape_default().to_string() });
        }
        if path.len() == 64 && path.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ReferenceError::LooksLikeIdentifier);
        }
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if registry.len() + 1 + repository.len() > MAX_NAME_BYTES {
            return Err(ReferenceError::TooLong);
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { registry, repository, tag, digest, given: text.to_owned() })
    }

    /// The registry's host and optional port, lower case: `docker.io`, `localhost:5000`, `[::1]:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path inside the registry: `library/alpine`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where a digest stands in its place.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the reference is pinned to.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository without tag and digest: `docker.io/library/alpine`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The text this was parsed from.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The short form that Docker shows: `alpine:latest`, `owner/image:tag`, other registries in full.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("docker.io/") {
            Some(short) => {
                let official = short.strip_prefix("library/");
                official.filter(|rest| !rest.contains('/')).unwrap_or(short).to_owned()
            }
            None => full,
        }
    }

    /// The same repository under another tag.
    ///
    /// # Errors
    /// When `tag` breaks the grammar of tags.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        format!("{}:{tag}", self.name()).parse()
    }

    /// The same repository pinned to `digest`, without tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        let mut pinned = Self { tag: None, digest: Some(digest), given: String::new(), ..self.clone() };
        pinned.given = pinned.to_string();
        pinned
    }
}

/// The first component is a registry if it could not be part of a Docker Hub name
/// (`splitDockerDomain` of distribution/reference).
fn split_registry(name: &str) -> Option<(&str, &str)> {
    let (first, rest) = name.split_once('/')?;
    let is_host = first == "localhost"
        || first.contains(['.', ':', '['])
        || first.bytes().any(|byte| byte.is_ascii_uppercase());
    is_host.then_some((first, rest))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match after.strip_prefix(':') {
                Some(port) => return is_port(port),
                None => return after.is_empty(),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label_is_valid) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let mut separator = String::new();
    let mut seen_word = false;
    for character in component.chars() {
        match character {
            'a'..='z' | '0'..='9' => {
                let separator_is_valid = match separator.as_str() {
                    "" => true,
                    "." | "_" | "__" => seen_word,
                    other => seen_word && other.bytes().all(|byte| byte == b'-'),
                };
                if !separator_is_valid {
                    return false;
                }
                separator.clear();
                seen_word = true;
            }
            '.' | '_' | '-' => separator.push(character),
            _ => return false,
        }
    }
    seen_word && separator.is_empty()
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= MAX_TAG_BYTES
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !tag.starts_with(['.', '-'])
        && !tag.is_empty()
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse_with_default_registry(text, DEFAULT_REGISTRY)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

// What the user typed does not make two names of one image different.
impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        (&self.registry, &self.repository, &self.tag, &self.digest)
            == (&other.registry, &other.repository, &other.tag, &other.digest)
    }
}

impl Eq for Reference {}

impl std::hash::Hash for Reference {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.registry, &self.repository, &self.tag, &self.digest).hash(state);
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_name_reads_again_as_itself() {
        for text in ["Registry/image", "REGISTRY.example/image:1", "localhost/image", "image", "user/image"] {
            let reference: Reference = text.parse().unwrap();
            let again: Reference = reference.to_string().parse().unwrap();
            assert_eq!(again, reference, "{text}");
        }
    }

    #[test]
    fn completes_names_as_docker_does() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let cases = [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("owner/image", "docker.io/owner/image:latest", "owner/image:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000/a:latest"),
            ("127.0.0.1:5000/a/b:T_1.x-y", "127.0.0.1:5000/a/b:T_1.x-y", "127.0.0.1:5000/a/b:T_1.x-y"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("GHCR.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest"),
            ("a--b__c.d/e", "docker.io/a--b__c.d/e:latest", "a--b__c.d/e:latest"),
        ];
        for (text, full, familiar) in cases {
            if text.starts_with("a--b__c.d/") {
                // A dot makes the first component a host; `__` is no host.
                assert!(matches!(text.parse::<Reference>(), Err(ReferenceError::Registry { .. })));
                continue;
            }
            let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar_name(), familiar);
            assert_eq!(reference.given(), text);
        }
        let pinned: Reference = format!("alpine@{digest}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.to_string(), format!("docker.io/library/alpine@{digest}"));
        let both: Reference = format!("alpine:3@{digest}").parse().unwrap();
        assert_eq!((both.tag(), both.digest().is_some()), (Some("3"), true));
        assert_eq!(both.with_tag("4").unwrap().to_string(), "docker.io/library/alpine:4");
    }

    #[test]
    fn refuses_what_is_no_reference() {
        let long = format!("a/{}", "b".repeat(300));
        let cases = [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ":tag",
            "a:",
            "a:-x",
            "a:x/y",
            "A",
            "a/B",
            "a b",
            "a\n",
            "-a",
            "a-",
            "a.",
            "a___b",
            "a..b",
            "../a",
            "a/../b",
            "a@",
            "a@sha256:00",
            "a@b@c",
            "host:0/a",
            "host:99999/a",
            "host:x/a",
            "[::1/a",
            "[zz]/a",
            "-host.de/a",
            "a:é",
            "ä",
            "a\u{1b}[31m",
            "b:\u{0}",
            &long,
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ];
        for text in cases {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        let message = "a\u{1b}[31m/b".parse::<Reference>().unwrap_err().to_string();
        assert!(!message.contains('\u{1b}'), "{message:?} would reach a terminal raw");
    }

    #[test]
    fn default_registry_is_a_setting() {
        let reference = Reference::parse_with_default_registry("tool", "registry.example:444").unwrap();
        assert_eq!(reference.to_string(), "registry.example:444/tool:latest");
    }

    proptest! {
        #[test]
        fn full_form_parses_to_itself(text in "[a-zA-Z0-9./:@_\\-\\[\\]]{0,60}|\\PC{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let full = reference.to_string();
                let again: Reference = full.parse().unwrap();
                prop_assert_eq!(&again, &reference);
                prop_assert_eq!(again.to_string(), full);
                let familiar: Reference = reference.familiar_name().parse().unwrap();
                prop_assert_eq!(familiar, reference);
            }
        }
    }
}
