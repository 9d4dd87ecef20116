//! virtio devices over vhost-user, served by threads of the runtime helper.
//!
//! Each device is one thread that owns everything it serves: the vhost-user socket of the virtual machine
//! monitor, the virtqueues in the guest's memory and the host files or sockets behind them. The monitor and the
//! guest are both hostile here; whatever they send ends at worst this one device, which its owner notices through
//! [`DeviceThread::wait`] or [`DeviceThread::end_descriptor`] and answers by ending the virtual machine.
//!
//! `SIGPIPE` must be ignored, as it is in every Rust program by default: a monitor closes its ends when it likes.
//!
//! A monitor may also truncate the file of the guest's memory that this process has mapped. Nothing can be done
//! about that on the level of a request, so a helper calls [`install_sigbus_guard`] before it starts a device.

pub mod block;
mod device_thread;
mod sigbus;
mod transport;
pub mod vsock;

pub use block::{BlockConfiguration, BlockDevice, BlockError, BlockStatistics, Extent};
pub use device_thread::{DeviceEnd, DeviceThread, Frontend};
pub use sigbus::{SIGBUS_EXIT_CODE, SigbusGuardError, install_sigbus_guard};
pub use transport::{ControlFault, MemoryFault, RingFault};
pub use vsock::{GuestConnection, VsockConfiguration, VsockDevice, VsockError};
