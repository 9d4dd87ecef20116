//! Networks as `network list` and `network inspect` show them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::container::NetworkOptions;

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

/// Has a stopped container join a network from its next start on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkConnectRequest {
    /// Container id.
    pub container: String,
    /// Wishes; without a host name, that of its other networks.
    #[serde(default)]
    pub options: NetworkOptions,
}

/// Has a stopped container join a network no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkDisconnectRequest {
    /// Container id.
    pub container: String,
    /// Fine if it does not join it, or there is no such network.
    #[serde(default)]
    pub force: bool,
}

/// Answer to the removal of unused networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPruneResponse {
    /// What was removed.
    pub names: Vec<String>,
}

/// Creates a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DomainCreateRequest {
    /// Name.
    pub name: String,
    /// Address under which containers reach the host's loopback by this name.
    pub localhost: Option<Ipv4Addr>,
}

/// A domain that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainCreateResponse {
    /// Name.
    pub name: String,
    /// Where the host's questions for it are answered: address and port.
    pub name_server: String,
    /// The host's resolver has been told of it.
    pub is_known_to_host: bool,
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
