//! From `Start` to an executing VMM: the part of a start that nothing can overlap with.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result, bail, ensure};
use bulkhead_devices::{BlockConfiguration, BlockDevice, GuestConnection, VsockConfiguration, VsockDevice};
use bulkhead_guest_protocol::messages::LayerExtent;
use bulkhead_guest_protocol::{CONTROL_PORT, STREAM_PORT};
use bulkhead_runtime_control::{RuntimeSpecification, VmmKind};
use bulkhead_vmm::{MachineConfiguration, NetworkDevice, Uml, Vmm, VmmProcess};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{FolderServer, disks, folders};
use crate::watch::Device;

/// linux/if_packet.h
const PACKET_VNET_HDR: libc::c_int = 15;
#[expect(clippy::cast_possible_truncation, reason = "a constant of 4")]
const FLAG_BYTES: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;

/// A machine that has just been started.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) vmm: VmmProcess,
    pub(super) devices: Vec<Device>,
    pub(super) connections: Receiver<GuestConnection>,
    /// Reading end.
    pub(super) console: OwnedFd,
    pub(super) layers: Vec<LayerExtent>,
}

/// Opens the disks, serves the devices and starts the VMM.
pub(super) fn launch(specification: &RuntimeSpecification, networks: Vec<OwnedFd>) -> Result<Launched> {
    ensure!(
        networks.len() == specification.networks.len(),
        "{} networks came with {} sockets",
        specification.networks.len(),
        networks.len()
    );
    let (disks, layers) = disks::open(specification)?;
    let disk_sockets: Vec<SocketPair> = disks.iter().map(|_| socket_pair()).collect::<Result<_>>()?;
    let (disk_sockets, block_devices): (Vec<_>, Vec<_>) =
        disk_sockets.into_iter().map(|pair| (pair.ours, pair.theirs)).unzip();
    let vsock_socket = socket_pair()?;
    let (mut servers, file_systems) = folders::serve(specification)?;
    let (console, console_writer) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let started = backend(specification.vmm.kind)?.start(MachineConfiguration {
        kernel: specification.vmm.kernel.clone(),
        initial_ramdisk: specification.vmm.initial_ramdisk.clone(),
        memory_bytes: specification.vmm.memory_bytes,
        cpus: specification.vmm.cpus,
        block_devices,
        file_systems,
        vsock: vsock_socket.theirs,
        networks: network_devices(specification, networks),
        console: console_writer,
        staging_directory: specification.runtime_directory.clone(),
        extra_arguments: specification.vmm.kernel_arguments.clone(),
    });
    let mut vmm = started?;
    // Behind the VMM's back: it has its jail to build and a kernel to boot before it looks for them.
    let served = serve(disks, disk_sockets, vsock_socket.ours);
    vmm.confirm()?;
    let served = served.and_then(|served| {
        servers.iter_mut().try_for_each(FolderServer::expect_ids)?;
        Ok(served)
    });
    match served {
        Ok((mut devices, connections)) => {
            devices.extend(servers.into_iter().map(Device::Folder));
            Ok(Launched { vmm, devices, connections, console, layers })
        }
        Err(error) => {
            vmm.kill().context("cannot kill the machine monitor")?;
            vmm.wait().context("cannot wait for the machine monitor")?;
            Err(error)
        }
    }
}

fn serve(
    disks: Vec<BlockConfiguration>,
    disk_sockets: Vec<UnixStream>,
    vsock_socket: UnixStream,
) -> Result<(Vec<Device>, Receiver<GuestConnection>)> {
    let mut devices = Vec::with_capacity(disks.len() + 1);
    for (configuration, socket) in disks.into_iter().zip(disk_sockets) {
        devices.push(Device::Block(BlockDevice::spawn(socket, configuration)?));
    }
    let configuration = VsockConfiguration::new("vsock", [CONTROL_PORT, STREAM_PORT]);
    let (vsock, connections) = VsockDevice::spawn(vsock_socket, configuration)?;
    devices.push(Device::Vsock(vsock));
    Ok((devices, connections))
}

/// A vhost-user connection.
struct SocketPair {
    ours: UnixStream,
    theirs: OwnedFd,
}

fn socket_pair() -> Result<SocketPair> {
    let (ours, theirs) = UnixStream::pair().context("cannot make a socket pair")?;
    Ok(SocketPair { ours, theirs: theirs.into() })
}

fn backend(kind: VmmKind) -> Result<Box<dyn Vmm>> {
    match kind {
        VmmKind::Uml => Ok(Box::new(Uml)),
        VmmKind::Qemu => bail!("this version has no QEMU backend"),
    }
}

fn network_devices(specification: &RuntimeSpecification, descriptors: Vec<OwnedFd>) -> Vec<NetworkDevice> {
    specification
        .networks
        .iter()
        .zip(descriptors)
        .map(|(network, descriptor)| NetworkDevice {
            virtio_net_header: has_virtio_net_header(&descriptor),
            descriptor,
            mac_address: network.mac_address.clone(),
            mtu: network.mtu,
        })
        .collect()
}

/// Whoever opened the packet socket decided; asking it keeps both ends from disagreeing.
fn has_virtio_net_header(socket: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let mut value: libc::c_int = 0;
    let mut length = FLAG_BYTES;
    // SAFETY: value and length live, and length is that of value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_VNET_HDR,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    result == 0 && value != 0
}
