//! Networks as `network list` and `network inspect` show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One entry of `network list` and `network inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkResource {
    /// Name.
    pub id: String,
    /// As created.
    pub configuration: NetworkResourceConfiguration,
    /// As it is.
    pub status: NetworkResourceStatus,
}

/// What a network was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkResourceConfiguration {
    /// Name.
    pub name: String,
    /// RFC 3339, whole seconds, UTC.
    pub creation_date: String,
    /// nat or hostOnly
    pub mode: String,
    /// As asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_subnet: Option<String>,
    /// As asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_subnet: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Plugin that serves it.
    pub plugin: String,
    /// Options.
    pub options: BTreeMap<String, String>,
}

/// Creates a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkCreateRequest {
    /// Name.
    pub name: String,
    /// Picked when absent.
    pub ipv4_subnet: Option<String>,
    /// Absent: no IPv6.
    pub ipv6_subnet: Option<String>,
    /// No way outside.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options: `mtu`.
    pub options: BTreeMap<String, String>,
    /// Plugin that is to serve it.
    pub plugin: Option<String>,
}

/// Answer to the removal of unused networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPruneResponse {
    /// What was removed.
    pub names: Vec<String>,
}

/// How a network is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkResourceStatus {
    /// "192.168.64.0/24"
    pub ipv4_subnet: String,
    /// Gateway.
    pub ipv4_gateway: String,
    /// "fd00:…::/64"
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_subnet: Option<String>,
}
