//! Image configuration (OCI image specification, "Image Configuration"; Docker adds the health check).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::{Digest, MAX_DOCUMENT_BYTES, Platform};

/// The longest environment, command or label text that is accepted. A Linux process cannot be given a longer
/// single string either (`MAX_ARG_STRLEN`, 32 pages).
const MAX_STRING_BYTES: usize = 128 << 10;

/// Why bytes are no usable image configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// More than 4 MiB.
    #[error("the image configuration has {actual_bytes} bytes, more than the allowed {MAX_DOCUMENT_BYTES}")]
    TooLarge {
        /// Its size.
        actual_bytes: usize,
    },
    /// Not JSON of the expected shape.
    #[error("the image configuration cannot be parsed")]
    Syntax(#[source] serde_json::Error),
    /// A text that no process could be given: it holds a NUL byte or is longer than 128 KiB.
    #[error("the image configuration's {field} has an entry with a NUL byte or of more than 128 KiB")]
    Text {
        /// `Env`, `Cmd`, …
        field: &'static str,
    },
    /// `rootfs.type` is something else than `layers`.
    #[error("the image's root file system is of type `{kind}`, only `layers` is supported")]
    RootFilesystem {
        /// What it says, escaped.
        kind: String,
    },
}

/// How to run an image, what it was built for, and which layers it consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfiguration {
    /// Creation time, RFC 3339, as the builder wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Go's name of the architecture.
    #[serde(default)]
    pub architecture: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Go's name of the operating system.
    #[serde(default)]
    pub os: String,
    /// Defaults of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerConfiguration>,
    /// The layers.
    #[serde(default)]
    pub rootfs: RootFilesystem,
    /// How each layer came to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub history: Vec<History>,
}

/// Defaults of containers made from the image. All of it is the image author's text: nothing is checked
/// beyond being passable to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfiguration {
    /// `user[:group]`, by name or number; empty for root.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub user: String,
    /// `NAME=value` each.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// Arguments that precede the command.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "strings")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or arguments of the entrypoint.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "strings")]
    pub cmd: Option<Vec<String>>,
    /// Working directory; empty for `/`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// Free notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to end: `SIGTERM` or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Paths that want a volume.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "set", serialize_with = "set_out")]
    pub volumes: Vec<String>,
    /// `port[/protocol]` that the image listens on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "set", serialize_with = "set_out")]
    pub exposed_ports: Vec<String>,
    /// Docker's health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's health check; durations are nanoseconds, zero means "inherit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(deserialize_with = "null_as_default")]
    pub test: Vec<String>,
    /// Time between checks, nanoseconds.
    #[serde(rename = "Interval")]
    pub interval_ns: i64,
    /// Time that one check may take, nanoseconds.
    #[serde(rename = "Timeout")]
    pub timeout_ns: i64,
    /// Time in which failures do not count, nanoseconds.
    #[serde(rename = "StartPeriod")]
    pub start_period_ns: i64,
    /// Time between checks within the start period, nanoseconds.
    #[serde(rename = "StartInterval")]
    pub start_interval_ns: i64,
    /// Failures in a row that make a container unhealthy.
    pub retries: i64,
}

/// The image's layers by their uncompressed digests, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFilesystem {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// DiffIDs: the digest of each layer's uncompressed tar stream.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFilesystem {
    fn default() -> Self {
        Self { kind: layers(), diff_ids: Vec::new() }
    }
}

fn layers() -> String {
    "layers".to_owned()
}

/// One step of the image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfiguration {
    /// Parses the bytes of an image configuration.
    ///
    /// # Errors
    /// When it is too large, malformed, not made of layers, or holds text that no process can be given.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(ConfigurationError::TooLarge { actual_bytes: bytes.len() });
        }
        let configuration: Self = serde_json::from_slice(bytes).map_err(ConfigurationError::Syntax)?;
        if configuration.rootfs.kind != "layers" {
            let kind = configuration.rootfs.kind.escape_default().to_string();
            return Err(ConfigurationError::RootFilesystem { kind });
        }
        if let Some(container) = &configuration.config {
            container.check()?;
        }
        Ok(configuration)
    }

    /// What the image was built for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
            os_version: None,
        }
    }
}

impl ContainerConfiguration {
    fn check(&self) -> Result<(), ConfigurationError> {
        let none = Vec::new();
        let fields: [(&'static str, &[String]); 7] = [
            ("Env", &self.env),
            ("Entrypoint", self.entrypoint.as_ref().unwrap_or(&none)),
            ("Cmd", self.cmd.as_ref().unwrap_or(&none)),
            ("Volumes", &self.volumes),
            ("ExposedPorts", &self.exposed_ports),
            ("User", std::slice::from_ref(&self.user)),
            ("WorkingDir", std::slice::from_ref(&self.working_dir)),
        ];
        for (field, texts) in fields {
            if texts.iter().any(|text| text.len() > MAX_STRING_BYTES || text.contains('\0')) {
                return Err(ConfigurationError::Text { field });
            }
        }
        Ok(())
    }
}

/// Go writes absent lists and maps as `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Docker's old images have a command as one string instead of a list.
fn strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<OneOrMany>::deserialize(deserializer)?.map(|value| match value {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(list) => list,
    }))
}

/// A Go `map[string]struct{}`: the keys are what counts.
fn set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn set_out<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Empty {}
    serializer.collect_map(keys.iter().map(|key| (key, Empty {})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_writes() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z",
            "config":{"Hostname":"","User":"1000:1000","Env":["PATH=/bin","A=b=c"],"Cmd":["sh"],"Entrypoint":null,
            "Labels":null,"Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{},"53/udp":{}},"StopSignal":"SIGQUIT",
            "WorkingDir":"/srv","Healthcheck":{"Test":["CMD","true"],"Interval":30000000000},"OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true}]}"#;
        let configuration = ImageConfiguration::parse(text.as_bytes()).unwrap();
        let container = configuration.config.as_ref().unwrap();
        assert_eq!(container.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(container.entrypoint, None);
        assert_eq!(container.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(container.volumes, ["/data"]);
        assert_eq!(container.healthcheck.as_ref().unwrap().interval_ns, 30_000_000_000);
        assert_eq!(configuration.platform().to_string(), "linux/amd64");
        assert!(configuration.history[0].empty_layer);
        let again = serde_json::to_vec(&configuration).unwrap();
        assert_eq!(ImageConfiguration::parse(&again).unwrap(), configuration);
    }

    #[test]
    fn refuses_odd_configurations() {
        let long = "x".repeat(200 << 10);
        let cases = [
            ("{", "cannot be parsed"),
            (r#"{"os":"linux","os":"linux"}"#, "cannot be parsed"),
            (r#"{"rootfs":{"type":"squashfs","diff_ids":[]}}"#, "squashfs"),
            (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#, "cannot be parsed"),
            (r#"{"config":{"Env":["A=\u0000"]}}"#, "Env"),
            (r#"{"config":{"WorkingDir":"/\u0000"}}"#, "WorkingDir"),
            (&format!(r#"{{"config":{{"Cmd":["{long}"]}}}}"#), "Cmd"),
        ];
        for (text, expected) in cases {
            let message = ImageConfiguration::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:.60}: {message}");
        }
        assert_eq!(ImageConfiguration::parse(b"{}").unwrap().rootfs.diff_ids, []);
    }
}
