//! Messages and client of container-network's control socket.
//!
//! container-network owns one network namespace with a bridge for each network. A lease ties one
//! interface of one container to an address and to the host end of its packet socket; it lives
//! until `Release`, not until the connection ends, so that it survives the apiserver. The same holds
//! for published ports.
//!
//! Frames are those of `bulkhead_descriptor_passing::frame`: a [`RequestFrame`] one way, a
//! [`ReplyFrame`] back; requests may overlap and are answered by id.

mod client;
mod message;

pub use client::{Client, ClientError};
pub use message::{
    DEFAULT_NETWORK, Denial, Domain, EgressPolicy, EgressRule, EgressTarget, Failure, FailureCode, Lease,
    LeaseRequest, NameServer, Network, NetworkConfiguration, PortRange, PortSpan, Protocol, PublishRequest,
    RenameRequest, Reply, ReplyFrame, Request, RequestFrame, RestoreRequest,
};

/// Counts the changes after which an earlier daemon does not know some request. One that does not know
/// [`Request::Generation`] is of an earlier one still.
pub const GENERATION: u32 = 1;

/// The first generation that knows [`Request::Rename`] for sure.
pub const RENAMING_GENERATION: u32 = 1;
