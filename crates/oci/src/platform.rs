//! Operating system, architecture and variant (OCI image index, `platform`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no platform.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformError {
    /// Not of the form `os/architecture[/variant]`.
    #[error("`{platform}` is not a platform: expected os/architecture[/variant], like linux/amd64")]
    Form {
        /// What was given, escaped.
        platform: String,
    },
}

/// What an image was built for, with the names that Go gives them.
///
/// Other names of the same architecture (`x86_64`, `aarch64`, `armhf`) are turned into Go's when parsed from
/// text. Documents keep what they say; [`Self::matches`] compares by meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, `v7`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Only Windows images use it.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

impl Platform {
    /// A Linux platform of the given architecture.
    #[must_use]
    pub fn linux(architecture: &str) -> Self {
        let (architecture, variant) = normalise(architecture, None);
        Self { os: "linux".to_owned(), architecture, variant, os_version: None }
    }

    /// The platform of this host: Linux on the architecture that this program was compiled for.
    #[must_use]
    pub fn host() -> Self {
        Self::linux(std::env::consts::ARCH)
    }

    /// Whether an image for `candidate` is what a request for `self` means.
    #[must_use]
    pub fn matches(&self, candidate: &Platform) -> bool {
        self.preference(candidate).is_some()
    }

    /// How well an image for `candidate` serves a request for `self`: `None` if not at all, else the greater
    /// the better. A request for an ARM variant is also served by older ones (containerd's `platforms.Only`).
    #[must_use]
    pub fn preference(&self, candidate: &Platform) -> Option<u8> {
        let (architecture, wanted) = normalise(&self.architecture, self.variant.as_deref());
        let (offered_architecture, offered) =
            normalise(&candidate.architecture, candidate.variant.as_deref());
        if !self.os.eq_ignore_ascii_case(&candidate.os) || architecture != offered_architecture {
            return None;
        }
        let default = match architecture.as_str() {
            "arm" => "v7",
            "arm64" => "v8",
            _ => "v1",
        };
        let level = |variant: Option<String>| {
            variant
                .as_deref()
                .unwrap_or(default)
                .strip_prefix('v')
                .and_then(|number| number.parse::<u8>().ok())
        };
        if wanted == offered {
            return Some(u8::MAX);
        }
        let (wanted, offered) = (level(wanted)?, level(offered)?);
        (offered <= wanted).then_some(offered)
    }

    /// BuildKit's attestations carry this in an index in place of a platform; never something to run.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

/// Go's names of architectures and the variants that go without saying (containerd's `normalizeArch`).
fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let lower = architecture.to_ascii_lowercase();
    let variant = variant.map(str::to_ascii_lowercase).filter(|text| !text.is_empty());
    let (name, variant) = match (lower.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", _) => ("amd64", variant),
        ("i386" | "i686" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", None | Some("v8" | "8")) => ("arm64", None),
        ("aarch64", _) => ("arm64", variant),
        ("armhf", _) => ("arm", None),
        ("armel", _) => ("arm", Some("v6".to_owned())),
        ("arm", None | Some("v7" | "7")) => ("arm", None),
        _ => (lower.as_str(), variant),
    };
    (name.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let form = || PlatformError::Form { platform: text.escape_default().to_string() };
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            (1..=32).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_word) {
            return Err(form());
        }
        let (architecture, variant) = normalise(parts[1], parts.get(2).copied());
        Ok(Self { os: parts[0].to_ascii_lowercase(), architecture, variant, os_version: None })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(formatter, "/{variant}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_normalises() {
        let cases = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AARCH64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm/v7", "linux/arm"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("windows/amd64", "windows/amd64"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected);
        }
        for text in
            ["", "linux", "linux/", "/amd64", "linux/amd64/", "a/b/c/d", "linux/am d64", "linux/\u{1b}"]
        {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn matches_by_meaning() {
        let cases = [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/amd64/v3", "linux/amd64", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm", "linux/arm/v6", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/riscv64", "linux/riscv64", true),
        ];
        for (wanted, offered, expected) in cases {
            let offered: Platform = offered.parse().unwrap();
            assert_eq!(wanted.parse::<Platform>().unwrap().matches(&offered), expected, "{wanted} {offered}");
        }
        let arm: Platform = "linux/arm".parse().unwrap();
        let preference = |text: &str| arm.preference(&text.parse().unwrap());
        assert!(preference("linux/arm/v7") > preference("linux/arm/v6"));
        assert!(preference("linux/arm/v6") > preference("linux/arm/v5"));
    }
}
