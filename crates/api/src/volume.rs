//! Volumes as `volume list` and `volume inspect` show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Label of a volume that nobody named.
pub const ANONYMOUS_LABEL: &str = "com.apple.container.resource.anonymous";
/// The longest name, in bytes.
pub const MAXIMUM_NAME_BYTES: usize = 255;

/// One entry of `volume list` and `volume inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeResource {
    /// Name.
    pub id: String,
    /// As created.
    pub configuration: VolumeConfiguration,
}

/// What a volume was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeConfiguration {
    /// Name.
    pub name: String,
    /// `local`
    pub driver: String,
    /// File system on its disk: `ext4`; `virtiofs` where several machines share a directory.
    pub format: String,
    /// Its disk, or directory, on the host.
    pub source: String,
    /// RFC 3339, whole seconds, UTC.
    pub creation_date: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// As asked for: `size`, `journal`, `type`.
    pub options: BTreeMap<String, String>,
    /// Length of its disk, which is sparse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_in_bytes: Option<u64>,
}

impl VolumeConfiguration {
    /// Nobody named it.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS_LABEL)
    }
}

/// Creates a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CreateVolumeRequest {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `size` in bytes or with a suffix, `journal=ordered|writeback|journal[:size]`,
    /// `type=disk|shared`.
    pub options: BTreeMap<String, String>,
}

/// Answer to `volume prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneVolumesResponse {
    /// What was removed.
    pub names: Vec<String>,
    /// What it occupied.
    pub reclaimed_bytes: u64,
}

/// Whether a text can name a volume: it becomes one component of a path.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=MAXIMUM_NAME_BYTES).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f94_hostile_names_are_refused() {
        for name in ["v", "data", "A.b_c-1", &"x".repeat(255)] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "-a", "_a", "a/b", "a b", "a\n", "é", &"x".repeat(256)] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }
}
