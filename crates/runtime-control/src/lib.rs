//! Messages and client of a runtime helper's control socket.
//!
//! ```text
//!  apiserver                             container-runtime-linux (one per container)
//!     │  spawn with socketpair as fd 3 ──────▶ │
//!     │  Start(specification) + descriptors ─▶ │ spawns the VMM, serves its devices
//!     │ ◀──────────── Event::Started           │
//!     │  ...                                   │ listens on <runtime dir>/control.sock too
//!     │  (apiserver dies, a new one connects)  │
//!     │  Subscribe ──────────────────────────▶ │
//!     │ ◀──────────── Reply::State, events     │
//!     │ ◀──────────── Event::Stopped           │ exit.json is durable before this is sent
//! ```
//!
//! Frames are those of `bulkhead_descriptor_passing::frame`. Each connection carries requests one
//! way, replies and (after `Start` or `Subscribe`) events the other way. The helper serves only
//! peers of its own uid.

mod bound_sockets;
mod client;
mod message;
mod specification;
mod status;

pub use bound_sockets::BoundSockets;
pub use client::{Connection, ControlError, EventReceiver};
pub use message::{
    DescriptorPurpose, DetachCause, Event, Failure, FailureCode, Message, Reply, Request, RequestFrame,
    Statistics,
};
pub use specification::{
    Backing, BuiltIn, CoveredPath, DnsSettings, Emulator, HostSocket, HostSocketSource, ImageLayer,
    LogLimits, MountSpecification, NetworkAttachment, ProcessSpecification, ResourceLimit,
    RuntimeSpecification, SharedFolder, SocketPublication, VmmKind, VmmSpecification, VolumeDisk,
};
pub use status::{ExitReason, ExitStatus, RuntimeState, RuntimeStatus, Timeline};

/// Descriptor number at which the helper finds its first control connection.
pub const INHERITED_CONTROL_DESCRIPTOR: i32 = 3;

/// Generation of this protocol, so that a newer apiserver can tell an older helper.
pub const GENERATION: u32 = 4;

/// The first generation whose helpers keep to their directories when these get another name, and know
/// [`Request::Rename`].
pub const RENAMING_GENERATION: u32 = 3;

/// The first generation whose helpers, and the guests that they start, know [`BuiltIn::PackChanges`].
pub const PACKING_GENERATION: u32 = 4;
