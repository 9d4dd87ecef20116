//! What every device shares: the vhost-user connection, the guest's memory and the virtqueues in it

mod buffers;
mod chain;
mod channel;
mod control;
mod memory;
mod message;
mod ring;
mod serve;

pub(crate) use buffers::Buffers;
pub(crate) use chain::Chain;
pub(crate) use memory::GuestRam;
pub(crate) use ring::Ring;
pub(crate) use serve::{FIRST_DEVICE_TOKEN, KickedQueues, Progress, Queues, VirtioDevice, serve};

pub use control::ControlFault;
pub use memory::MemoryFault;
pub use ring::RingFault;
