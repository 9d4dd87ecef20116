//! From `Start` to an executing VMM: the part of a start that nothing can overlap with.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result, bail, ensure};
use bulkhead_devices::{
    BlockConfiguration, BlockDevice, Extent, GuestConnection, VsockConfiguration, VsockDevice,
};
use bulkhead_guest_protocol::messages::LayerExtent;
use bulkhead_guest_protocol::{CONTROL_PORT, STREAM_PORT};
use bulkhead_runtime_control::{RuntimeSpecification, VmmKind};
use bulkhead_vmm::{MachineConfiguration, NetworkDevice, Uml, Vmm, VmmProcess};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::watch::Device;

/// Layers become partitions, which start at whole pages so that EROFS blocks stay aligned.
const LAYER_ALIGNMENT_BYTES: u64 = 4096;
/// linux/if_packet.h
const PACKET_VNET_HDR: libc::c_int = 15;
/// `F_WRLCK` in the type that `struct flock` has for it.
#[expect(clippy::cast_possible_truncation, reason = "a constant of 1")]
const WRITE_LOCK: libc::c_short = libc::F_WRLCK as libc::c_short;
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
    let (image, layers) = open_layers(specification)?;
    let writable = open_writable(&specification.writable_disk)?;
    let [image_socket, writable_socket, vsock_socket] = [socket_pair()?, socket_pair()?, socket_pair()?];
    let (console, console_writer) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let mut vmm = backend(specification.vmm.kind)?.start(MachineConfiguration {
        kernel: specification.vmm.kernel.clone(),
        initial_ramdisk: specification.vmm.initial_ramdisk.clone(),
        memory_bytes: specification.vmm.memory_bytes,
        cpus: specification.vmm.cpus,
        block_devices: vec![image_socket.theirs, writable_socket.theirs],
        vsock: vsock_socket.theirs,
        networks: network_devices(specification, networks),
        console: console_writer,
        staging_directory: specification.runtime_directory.clone(),
        extra_arguments: specification.vmm.kernel_arguments.clone(),
    })?;
    // Behind the VMM's back: it has its jail to build and a kernel to boot before it looks for them.
    let served = serve(image, writable, [image_socket.ours, writable_socket.ours], vsock_socket.ours);
    vmm.confirm()?;
    match served {
        Ok((devices, connections)) => Ok(Launched { vmm, devices, connections, console, layers }),
        Err(error) => {
            vmm.kill().context("cannot kill the machine monitor")?;
            vmm.wait().context("cannot wait for the machine monitor")?;
            Err(error)
        }
    }
}

fn serve(
    image: Vec<Extent>,
    writable: Extent,
    disk_sockets: [UnixStream; 2],
    vsock_socket: UnixStream,
) -> Result<(Vec<Device>, Receiver<GuestConnection>)> {
    let mut devices = Vec::with_capacity(3);
    let disks = [("image", image, true), ("writable", vec![writable], false)];
    for ((name, extents, read_only), socket) in disks.into_iter().zip(disk_sockets) {
        let configuration =
            BlockConfiguration { name: name.to_owned(), extents, read_only, serial: serial(name) };
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

fn open_layers(specification: &RuntimeSpecification) -> Result<(Vec<Extent>, Vec<LayerExtent>)> {
    ensure!(!specification.layers.is_empty(), "the image has no layers");
    let mut on_host = Vec::with_capacity(specification.layers.len());
    let mut on_disk = Vec::with_capacity(specification.layers.len());
    let mut start_bytes = 0_u64;
    for layer in &specification.layers {
        let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&layer.path);
        let file = opened.with_context(|| format!("cannot open layer '{}'", layer.path.display()))?;
        let found_bytes = file
            .metadata()
            .with_context(|| format!("cannot examine layer '{}'", layer.path.display()))?
            .len();
        ensure!(
            found_bytes == layer.length_bytes,
            "layer '{}' has {found_bytes} bytes instead of {}",
            layer.path.display(),
            layer.length_bytes
        );
        let length_bytes = layer.length_bytes.next_multiple_of(LAYER_ALIGNMENT_BYTES);
        on_host.push(Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes });
        on_disk.push(LayerExtent { start_bytes, length_bytes });
        start_bytes = start_bytes.checked_add(length_bytes).context("the layers exceed any disk")?;
    }
    Ok((on_host, on_disk))
}

/// The lock belongs to the open file description, which lives as long as the device that serves it:
/// no second VM gets this disk, whatever becomes of any daemon.
fn open_writable(path: &Path) -> Result<Extent> {
    let opened = File::options().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let file = opened.with_context(|| format!("cannot open disk '{}'", path.display()))?;
    let metadata = file.metadata().with_context(|| format!("cannot examine disk '{}'", path.display()))?;
    ensure!(
        metadata.is_file() && !metadata.file_type().is_block_device(),
        "disk '{}' is not a regular file",
        path.display()
    );
    lock(&file).with_context(|| format!("disk '{}' is in use by another machine", path.display()))?;
    Ok(Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes: metadata.len() })
}

fn lock(file: &File) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: all-zero bytes are a valid flock: from the start, to the end, pid 0 as F_OFD_SETLK wants.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = WRITE_LOCK;
    // SAFETY: the descriptor is open and the structure lives.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

fn serial(name: &str) -> [u8; 20] {
    let mut serial = [0; 20];
    for (target, byte) in serial.iter_mut().zip(name.bytes()) {
        *target = byte;
    }
    serial
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
