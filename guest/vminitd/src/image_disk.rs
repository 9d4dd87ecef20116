//! The read-only disk that holds the image's layers, and the emulators of its programs.
//!
//! Each part is an EROFS image of its own, which becomes a partition (BLKPG of linux/blkpg.h): there is no table of
//! partitions on the disk, the host tells where they are.

use std::os::fd::OwnedFd;

use bulkhead_guest_protocol::messages::LayerExtent;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl};
use rustix::mount::MountAttrFlags;
use thiserror::Error;

use crate::mounts::{FileSystem, MountError};

/// A part of the image disk did not become a block device.
#[derive(Debug, Error)]
pub(crate) enum PartitionError {
    #[error("cannot open image disk {device}")]
    OpenImage {
        device: String,
        #[source]
        source: Errno,
    },
    #[error("cannot make part {number} ({start_bytes}+{length_bytes} bytes) a partition of {device}")]
    Add {
        device: String,
        number: usize,
        start_bytes: u64,
        length_bytes: u64,
        #[source]
        source: Errno,
    },
}

/// Makes every layer a block device and names them from the lowest to the highest. Nothing else of a disk that is
/// `theirs_alone` is needed.
pub(crate) fn partition_layers(
    device: &str,
    layers: &[LayerExtent],
    theirs_alone: bool,
) -> Result<Vec<String>, PartitionError> {
    // A lone layer at the front is the disk itself: one block device less to make. A disk that is mounted has no
    // partitions to open, though.
    if let ([LayerExtent { start_bytes: 0, .. }], true) = (layers, theirs_alone) {
        return Ok(vec![device.to_owned()]);
    }
    let disk = open(device)?;
    layers.iter().zip(1..).map(|(layer, number)| add(&disk, device, layer, number)).collect()
}

/// Makes something else, which is not among the first partitions, a block device and names it.
pub(crate) fn partition(device: &str, extent: &LayerExtent, number: usize) -> Result<String, PartitionError> {
    add(&open(device)?, device, extent, number)
}

/// A detached mount of a part.
pub(crate) fn mount(device: &str) -> Result<OwnedFd, MountError> {
    let part = FileSystem::open("erofs")?;
    part.set("source", device)?;
    part.set_flag("ro")?;
    part.mount(MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOATIME)
}

fn open(device: &str) -> Result<OwnedFd, PartitionError> {
    openat(CWD, device, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| PartitionError::OpenImage { device: device.to_owned(), source })
}

fn add(disk: &OwnedFd, device: &str, extent: &LayerExtent, number: usize) -> Result<String, PartitionError> {
    add_partition(disk, extent, number).map_err(|source| PartitionError::Add {
        device: device.to_owned(),
        number,
        start_bytes: extent.start_bytes,
        length_bytes: extent.length_bytes,
        source,
    })?;
    Ok(format!("{device}{number}"))
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
struct PartitionRequest {
    operation: libc::c_int,
    flags: libc::c_int,
    length_bytes: libc::c_int,
    partition: *const Partition,
}

/// `struct blkpg_partition` of linux/blkpg.h; the kernel ignores the names.
#[repr(C)]
struct Partition {
    start_bytes: i64,
    length_bytes: i64,
    number: libc::c_int,
    names: [u8; 128],
}

const BLKPG: rustix::ioctl::Opcode = 0x1269;
const BLKPG_ADD_PARTITION: libc::c_int = 1;

fn add_partition(disk: &OwnedFd, layer: &LayerExtent, number: usize) -> Result<(), Errno> {
    let partition = Partition {
        start_bytes: layer.start_bytes.try_into().map_err(|_| Errno::INVAL)?,
        length_bytes: layer.length_bytes.try_into().map_err(|_| Errno::INVAL)?,
        number: number.try_into().map_err(|_| Errno::INVAL)?,
        names: [0; 128],
    };
    let request = PartitionRequest {
        operation: BLKPG_ADD_PARTITION,
        flags: 0,
        length_bytes: libc::c_int::try_from(size_of::<Partition>()).map_err(|_| Errno::INVAL)?,
        partition: &raw const partition,
    };
    // SAFETY: BLKPG reads a blkpg_ioctl_arg and the blkpg_partition behind its pointer; both live.
    unsafe { ioctl(disk, Setter::<BLKPG, PartitionRequest>::new(request)) }
}
