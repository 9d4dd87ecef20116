//! How a container is reached, and what it reaches.

use serde::{Deserialize, Serialize};

/// A published port or range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedPort {
    /// Host address.
    pub host_address: String,
    /// First host port; 0 stands for any that is free when the container starts.
    pub host_port: u16,
    /// First container port.
    pub container_port: u16,
    /// tcp or udp
    pub proto: String,
    /// Length of the range.
    pub count: u16,
}

/// A published socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedSocket {
    /// In the container.
    pub container_path: String,
    /// On the host.
    pub host_path: String,
    /// Mode bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<u32>,
}

/// Wish for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfiguration {
    /// Network name.
    pub network: String,
    /// Options.
    pub options: NetworkOptions,
}

/// Options of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkOptions {
    /// Name in DNS.
    pub hostname: String,
    /// Wanted MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Wanted MTU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Wanted IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    /// Wanted IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
    /// Further names in DNS, which containers may share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsConfiguration {
    /// Addresses.
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search list.
    pub search_domains: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}
