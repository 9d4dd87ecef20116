//! Requests and replies.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The network that containers join when they name none.
pub const DEFAULT_NETWORK: &str = "default";

/// A request with its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Unique per connection.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// The answer to the request of that id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// Of the request.
    pub id: u64,
    /// What came of it.
    pub result: Result<Reply, Failure>,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Make sure the network exists with this configuration. Replied with `Network`.
    CreateNetwork(NetworkConfiguration),
    /// Remove a network without leases. Replied with `Done`.
    DeleteNetwork {
        /// Its name.
        name: String,
    },
    /// Replied with `Networks`.
    ListNetworks,
    /// An address and an interface for a container. Replied with `Lease`, whose frame carries the
    /// packet socket: an AF_PACKET SOCK_RAW socket bound to the container's end of a veth pair.
    Lease(LeaseRequest),
    /// Give up every lease of a container. Replied with `Done`, also when there is none.
    Release {
        /// Container id.
        container_id: String,
    },
    /// Give up the leases of every container that is not listed (after a crash of the apiserver).
    /// Replied with `Done`.
    Retain {
        /// Ids that keep their leases.
        container_ids: Vec<String>,
    },
    /// Take everything down and exit. Replied with `Done`.
    Shutdown,
}

/// A network as its creator asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkConfiguration {
    /// Validated name.
    pub name: String,
    /// "192.168.64.0/24"; picked when absent.
    pub ipv4_subnet: Option<String>,
    /// "fd00:…::/64"; picked when absent.
    pub ipv6_subnet: Option<String>,
    /// No way outside.
    pub internal: bool,
    /// Driver options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A network as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// As asked for.
    pub configuration: NetworkConfiguration,
    /// "192.168.64.0/24"
    pub ipv4_subnet: String,
    /// The bridge's address: gateway and DNS server.
    pub ipv4_gateway: Ipv4Addr,
    /// "fd00:…::/64"
    pub ipv6_subnet: Option<String>,
    /// The bridge's address.
    pub ipv6_gateway: Option<Ipv6Addr>,
}

/// Asks for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRequest {
    /// Container id.
    pub container_id: String,
    /// Existing network.
    pub network: String,
    /// Name under which others find the container.
    pub hostname: String,
    /// Wanted MAC address, else one is derived.
    pub mac_address: Option<String>,
    /// Bytes; 1280 when absent, the smallest that IPv6 allows and safe behind any tunnel.
    pub mtu: Option<u32>,
}

/// An interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Network.
    pub network: String,
    /// "192.168.64.5/24"
    pub ipv4_address: String,
    /// Gateway and DNS server; the guest routes everything there. For an internal network it is
    /// the DNS server only.
    pub ipv4_gateway: Ipv4Addr,
    /// "fd00:…::5/64"
    pub ipv6_address: Option<String>,
    /// Gateway.
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// "02:…"
    pub mac_address: String,
    /// Bytes.
    pub mtu: u32,
    /// No default route.
    pub internal: bool,
}

/// Successful answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// The network asked for.
    Network(Network),
    /// All networks, by name.
    Networks(Vec<Network>),
    /// The interface; its packet socket is the frame's descriptor.
    Lease(Lease),
}

/// Closed set of failure kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureCode {
    /// No such network.
    NotFound,
    /// Exists with another configuration, or the subnet overlaps.
    Exists,
    /// Still in use.
    InUse,
    /// The request makes no sense.
    InvalidArgument,
    /// No address left.
    Exhausted,
    /// The kernel refused.
    System,
}

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Kind.
    pub code: FailureCode,
    /// One sentence naming the object.
    pub message: String,
}
