//! Unix stream sockets that carry file descriptors beside their bytes (unix(7), `SCM_RIGHTS`).
//!
//! Terminals, pipes and packet sockets travel this way, so that their bytes never cross a daemon.
//!
//! * [`frame`]: length-prefixed JSON messages with descriptors, blocking, for the helpers.
//! * [`asynchronous`]: the same frames on a Tokio socket, for the daemons.
//! * [`stream`]: a Tokio byte stream that collects received descriptors and sends queued ones with
//!   its next bytes; HTTP runs over it unchanged.

pub mod asynchronous;
pub mod frame;
mod message;
pub mod stream;

/// Most descriptors in one message. The kernel allows 253 (`SCM_MAX_FD`); no message of ours needs
/// more than stdin, stdout, stderr and a packet socket for each network.
pub const MAXIMUM_DESCRIPTORS: usize = 16;
