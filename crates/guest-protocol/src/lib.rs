//! The messages between the runtime helper on the host and vminitd, PID 1 of the guest.
//!
//! `proto/guest.proto` is the contract; [`messages`] is generated from it and checked in, so that
//! building needs no protoc. [`frame`] carries messages on the control connection, [`stream`] names
//! the stdio connections, [`built_in`] the ends of what vminitd does itself. Leaf crate: no I/O beyond
//! `std::io::{Read, Write}`, no async runtime.

pub mod built_in;
pub mod frame;
pub mod messages;
pub mod stream;

/// Generation of the protocol. The lower side wins; see `Hello.generation`.
pub const GENERATION: u32 = 1;
/// vsock context id of the host, as virtio 1.2 section 5.10.4 reserves it.
pub const HOST_CID: u32 = 2;
/// vsock context id of every guest; each VM has a device of its own, so one number serves all.
pub const GUEST_CID: u32 = 3;
/// Host port of the control connection.
pub const CONTROL_PORT: u32 = 1024;
/// Host port of the stdio connections.
pub const STREAM_PORT: u32 = 1025;
