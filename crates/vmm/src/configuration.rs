//! What a machine consists of, the same for every backend.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A machine to start. Descriptors are handed to the monitor and closed here.
#[derive(Debug)]
pub struct MachineConfiguration {
    /// Kernel image or, for User-Mode Linux, executable.
    pub kernel: PathBuf,
    /// Uncompressed cpio archive.
    pub initial_ramdisk: PathBuf,
    /// Memory of the machine; rounded down to whole mebibytes.
    pub memory_bytes: u64,
    /// Virtual CPUs; User-Mode Linux runs one whatever is asked.
    pub cpus: u32,
    /// Connected vhost-user sockets of the disks, in the order vda, vdb, ...
    pub block_devices: Vec<OwnedFd>,
    /// Connected vhost-user sockets of file systems, which the guest knows by their tags.
    pub file_systems: Vec<OwnedFd>,
    /// Connected vhost-user socket of the vsock device.
    pub vsock: OwnedFd,
    /// Network interfaces, in order.
    pub networks: Vec<NetworkDevice>,
    /// Writing end of a pipe for the console. Its volume is chosen by the guest.
    pub console: OwnedFd,
    /// An existing directory on which the monitor's new root is mounted; nothing of it is touched,
    /// and only the monitor's own mount namespace sees the mount.
    pub staging_directory: PathBuf,
    /// Appended to the kernel command line.
    pub extra_arguments: Vec<String>,
}

/// A network interface of the machine.
#[derive(Debug)]
pub struct NetworkDevice {
    /// Bound packet socket, or a tap.
    pub descriptor: OwnedFd,
    /// "02:00:00:00:00:05"
    pub mac_address: String,
    /// Bytes.
    pub mtu: u32,
    /// Every frame on the descriptor follows a `struct virtio_net_hdr`.
    pub virtio_net_header: bool,
}
