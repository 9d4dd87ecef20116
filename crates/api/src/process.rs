//! A process as configurations and requests describe it.

use serde::{Deserialize, Serialize};

/// `initProcess` of a configuration, and the process of `exec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessConfiguration {
    /// First word.
    pub executable: String,
    /// Further words.
    pub arguments: Vec<String>,
    /// KEY=VALUE
    pub environment: Vec<String>,
    /// Absolute.
    pub working_directory: String,
    /// Has a terminal.
    pub terminal: bool,
    /// Who runs it.
    pub user: User,
    /// Beyond those of the image's /etc/group.
    pub supplemental_groups: Vec<u32>,
    /// The same by name, looked up in the image's /etc/group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplemental_group_names: Vec<String>,
    /// Resource limits.
    pub rlimits: Vec<ResourceLimit>,
}

/// `{"raw":{"userString":"u:g"}}` or `{"id":{"uid":0,"gid":0}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum User {
    /// Resolved in the guest.
    #[serde(rename_all = "camelCase")]
    Raw {
        /// "name|uid[:group|gid]"
        user_string: String,
    },
    /// Numbers.
    Id {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl User {
    /// As `user[:group]`; empty is root.
    #[must_use]
    pub fn specification(&self) -> String {
        match self {
            Self::Raw { user_string } => user_string.clone(),
            Self::Id { uid, gid } => format!("{uid}:{gid}"),
        }
    }
}

/// `{"limit":"RLIMIT_NOFILE","soft":1,"hard":2}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLimit {
    /// RLIMIT_*
    pub limit: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}
