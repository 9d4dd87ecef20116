//! virtio-vsock: stream connections that the guest opens to the host (virtio 1.2, section 5.10)

mod connection;
mod credit;
mod device;
mod muxer;
mod packet;

pub use device::{GuestConnection, VsockConfiguration, VsockDevice, VsockError};
