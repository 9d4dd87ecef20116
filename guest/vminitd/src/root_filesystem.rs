//! The container's root: an overlay of EROFS layers on the image disk and the writable ext4 disk.
//!
//! No layer is attached anywhere: the mounts are detached and live by what the overlay holds. The
//! overlay itself becomes the root of a mount namespace of its own, so that nothing of the guest
//! is in the container's reach.

use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::messages::RootFilesystem;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, MountAttrFlags};
use thiserror::Error;

use crate::image_disk::{self, PartitionError};
use crate::mounts::{FileSystem, MountError};

/// The root could not be put together.
#[derive(Debug, Error)]
pub(crate) enum RootError {
    #[error("image has no layers")]
    NoLayers,
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("cannot mount layer {number}")]
    Layer {
        number: usize,
        #[source]
        source: MountError,
    },
    #[error("cannot mount writable disk {device}")]
    Writable {
        device: String,
        #[source]
        source: MountError,
    },
    #[error("cannot use directory {name} of the writable disk")]
    Directory {
        name: &'static str,
        #[source]
        source: Errno,
    },
    #[error("cannot put the layers together")]
    Overlay(#[source] MountError),
}

/// What the container starts from.
#[derive(Debug)]
pub(crate) struct Root {
    /// Mount namespace whose root is the overlay.
    pub(crate) mount_namespace: OwnedFd,
    pub(crate) layers: Layers,
}

/// What the overlay consists of, for whoever wants to see its parts.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The writable disk, out of the container's reach but for its layer.
    pub(crate) disk: OwnedFd,
    /// O_PATH: the writable directory.
    pub(crate) upper: OwnedFd,
    /// Mounts of the image's layers from the highest to the lowest.
    pub(crate) lowers: Vec<OwnedFd>,
}

impl Layers {
    /// The image without what the container made of it.
    pub(crate) fn mount_image(&self) -> Result<OwnedFd, MountError> {
        // An overlay that cannot be written has at least two layers.
        if let [layer] = self.lowers.as_slice() {
            return rustix::io::fcntl_dupfd_cloexec(layer, 3).map_err(|source| MountError::Create {
                kind: "erofs".to_owned(),
                log: String::new(),
                source,
            });
        }
        let overlay = FileSystem::open("overlay")?;
        overlay.set("source", "overlay")?;
        for layer in &self.lowers {
            overlay.set_descriptor("lowerdir+", layer.as_fd())?;
        }
        overlay.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
    }
}

/// `FSMOUNT_NAMESPACE` of linux/mount.h (Linux 7.0), which rustix does not name yet.
const FSMOUNT_NAMESPACE: u32 = 2;

/// Mounts the layers and the writable disk.
pub(crate) fn assemble(root: &RootFilesystem) -> Result<Root, RootError> {
    if root.layers.is_empty() {
        return Err(RootError::NoLayers);
    }
    let overlay = FileSystem::open("overlay").map_err(RootError::Overlay)?;
    overlay.set("source", "overlay").map_err(RootError::Overlay)?;
    let devices = image_disk::partition_layers(&root.image_device, &root.layers, root.emulators.is_empty())?;
    let mut lowers = Vec::with_capacity(devices.len());
    for (index, device) in devices.iter().enumerate().rev() {
        let layer =
            image_disk::mount(device).map_err(|source| RootError::Layer { number: index + 1, source })?;
        overlay.set_descriptor("lowerdir+", layer.as_fd()).map_err(RootError::Overlay)?;
        lowers.push(layer);
    }
    let writable = mount_writable(&root.writable_device)
        .map_err(|source| RootError::Writable { device: root.writable_device.clone(), source })?;
    let upper = open_or_make_directory(&writable, "upper")?;
    let work = open_or_make_directory(&writable, "work")?;
    overlay.set_descriptor("upperdir", upper.as_fd()).map_err(RootError::Overlay)?;
    overlay.set_descriptor("workdir", work.as_fd()).map_err(RootError::Overlay)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC | FsMountFlags::from_bits_retain(FSMOUNT_NAMESPACE);
    let mount_namespace = overlay.mount_with(flags, MountAttrFlags::empty()).map_err(RootError::Overlay)?;
    Ok(Root { mount_namespace, layers: Layers { disk: writable, upper, lowers } })
}

fn mount_writable(device: &str) -> Result<OwnedFd, MountError> {
    let writable = FileSystem::open_disk()?;
    // data=ordered is ext4's own default; said here it would refuse a disk without a journal.
    writable.set("source", device)?;
    writable.mount(MountAttrFlags::MOUNT_ATTR_NOATIME)
}

fn open_or_make_directory(parent: &OwnedFd, name: &'static str) -> Result<OwnedFd, RootError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => mkdirat(parent, name, Mode::from_raw_mode(0o755))
            .and_then(|()| openat(parent, name, flags, Mode::empty())),
        result => result,
    }
    .map_err(|source| RootError::Directory { name, source })
}
