//! Requests and replies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    /// packet socket: an AF_PACKET SOCK_RAW socket bound to the container's end of a veth pair, whose
    /// frames are preceded by a `struct virtio_net_hdr` (linux/virtio_net.h) of 10 bytes.
    Lease(LeaseRequest),
    /// Give a container back an interface that it had before this process began, as the apiserver
    /// knows it; fine if it has it already. Replied with `Done`.
    Restore(RestoreRequest),
    /// Bind ports of the host that lead to a container, all of them or none. Replied with
    /// `Published`.
    Publish(PublishRequest),
    /// Give up every lease and published port of a container. Replied with `Done` when its ports are
    /// free, also when there is nothing to give up.
    Release {
        /// Container id.
        container_id: String,
    },
    /// Give up what every container holds that is not listed, and what an earlier process left that
    /// was not restored.
    /// Replied with `Done`.
    Retain {
        /// Ids that keep their leases.
        container_ids: Vec<String>,
    },
    /// Which requests are known: see [`crate::GENERATION`]. Replied with `Generation`. A daemon that does not know
    /// this one ends the connection, so it is asked on one of its own.
    Generation,
    /// Leases and published ports of a container belong to its new name from now on; nothing else about
    /// them changes. Replied with `Done`, also when it has none.
    Rename(RenameRequest),
    /// What egress policies refused since this was asked last. Replied with `Denials`, at once or when
    /// there are any or after some time.
    Denials,
    /// Answer the host's questions for names below these domains, in place of those of earlier
    /// requests, and lead the host to containers as long as there are any. Replied with `NameServer`.
    SetDomains {
        /// All of them.
        domains: Vec<Domain>,
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
    /// "fd00:…::/64"; absent: no IPv6.
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
    /// Wanted address, else one is picked.
    #[serde(default)]
    pub ipv4_address: Option<Ipv4Addr>,
    /// Wanted IPv6 address, else one is picked on networks that have IPv6.
    #[serde(default)]
    pub ipv6_address: Option<Ipv6Addr>,
    /// Further names, which containers may share.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Absent: it may reach whatever its network lets it.
    #[serde(default)]
    pub egress: Option<EgressPolicy>,
}

/// A container's new names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameRequest {
    /// Container id until now.
    pub container_id: String,
    /// Container id from now on.
    pub new_container_id: String,
    /// Name under which others find it, for each of its networks.
    pub hostnames: BTreeMap<String, String>,
}

/// A domain by which the host finds containers, or containers the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Domain {
    /// In lower case, without a dot at the end.
    pub name: String,
    /// Address under which containers reach what listens on the host's 127.0.0.1; the domain is its
    /// name then.
    pub localhost: Option<Ipv4Addr>,
}

/// Where the host's questions for domains are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameServer {
    /// Absent without domains.
    pub address: Option<SocketAddr>,
    /// The host's resolver has been told of it.
    pub is_known_to_host: bool,
}

/// What a container may begin connections to; everything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressPolicy {
    /// Any of these.
    pub allow: Vec<EgressRule>,
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressRule {
    /// Where.
    pub target: EgressTarget,
    /// TCP and UDP ports; absent: every protocol.
    pub ports: Option<PortSpan>,
}

/// Where connections may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EgressTarget {
    /// Addresses.
    Subnet {
        /// Any of them.
        address: IpAddr,
        /// At most 32, or 128.
        prefix_length: u8,
    },
    /// What a name stands for when the container asks for it.
    Name {
        /// `*.` in front stands for all names below.
        name: String,
    },
}

/// Consecutive ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSpan {
    /// At least 1.
    pub first: u16,
    /// Included.
    pub last: u16,
}

/// Something that an egress policy refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// Container id.
    pub container_id: String,
    /// Address, address and port, or name.
    pub destination: String,
    /// `tcp`, `udp`, `icmp`, `dns`, or a number.
    pub protocol: String,
}

/// An interface that a container has already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRequest {
    /// Container id.
    pub container_id: String,
    /// Existing network.
    pub network: String,
    /// As leased.
    pub hostname: String,
    /// As leased.
    pub aliases: Vec<String>,
    /// As leased.
    #[serde(default)]
    pub egress: Option<EgressPolicy>,
    /// As leased.
    pub ipv4_address: Ipv4Addr,
    /// As leased.
    #[serde(default)]
    pub ipv6_address: Option<Ipv6Addr>,
    /// As leased.
    pub mac_address: String,
    /// As leased.
    pub mtu: u32,
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

/// Asks for ports of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishRequest {
    /// Container id.
    pub container_id: String,
    /// Network in which it has a lease; the ports lead to the address of that one.
    pub network: String,
    /// What to bind.
    pub ports: Vec<PortRange>,
}

/// Consecutive ports of the host that lead to as many ports of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// Address of the host; an unspecified one stands for all of its family.
    pub host_address: IpAddr,
    /// First port of the host; 0 in a request stands for any that is free.
    pub host_port: u16,
    /// First port of the container.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// How many, at least 1.
    pub count: u16,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Lower case, as in `80/tcp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
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
    /// What was asked for, with the ports that were chosen.
    Published(Vec<PortRange>),
    /// The daemon's [`crate::GENERATION`].
    Generation(u32),
    /// The oldest first.
    Denials(Vec<Denial>),
    /// Where domains are answered.
    NameServer(NameServer),
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
    /// It takes rights that we do not have.
    PermissionDenied,
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
