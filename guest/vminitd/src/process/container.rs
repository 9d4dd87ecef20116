//! The inside of a new container: mounts that only a process of its namespaces can make. Runs in
//! the child that becomes process 0.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, fstat, mkdirat};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use thiserror::Error;

use super::made_places;
use crate::mount_options::MountOptions;
use crate::mount_points::{self, Kind};
use crate::mounts::{self, MountSource, PreparedMount};
use crate::root_filesystem::Layers;
use crate::sysctl::{self, SysctlError};

const AT_RECURSIVE: u32 = libc::AT_RECURSIVE as u32;

/// The container could not be set up.
#[derive(Debug, Error)]
pub(crate) enum ContainerError {
    #[error("cannot enter the namespaces of the container")]
    Namespaces(#[source] Errno),
    #[error("cannot mount {destination}")]
    Mount {
        destination: String,
        #[source]
        source: Errno,
    },
    #[error("cannot bind {path} to {destination}")]
    Bind {
        path: String,
        destination: String,
        #[source]
        source: Errno,
    },
    #[error("cannot hide {path}")]
    Mask {
        path: String,
        #[source]
        source: Errno,
    },
    #[error("cannot make {path} read-only")]
    ReadOnly {
        path: String,
        #[source]
        source: Errno,
    },
    #[error(transparent)]
    Sysctl(SysctlError),
}

/// Everything that PID 1 prepared.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    /// Its root is the overlay.
    pub(crate) mount_namespace: OwnedFd,
    pub(crate) layers: Layers,
    pub(crate) devices: OwnedFd,
    pub(crate) mounts: Vec<PreparedMount>,
    pub(crate) files: Vec<PreparedMount>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) read_only_root: bool,
}

/// Makes the caller's view of the file system the container's.
pub(crate) fn set_up(plan: &ContainerPlan) -> Result<(), ContainerError> {
    move_into_link_name_space(plan.mount_namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(ContainerError::Namespaces)?;
    // After CLONE_INTO_CGROUP, so that the container's group is the root of what it sees.
    // SAFETY: a control group namespace concerns no memory and no descriptor.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }.map_err(ContainerError::Namespaces)?;

    made_places::remove_left(&plan.layers.disk);
    attach(plan.devices.as_fd(), "/dev", || Kind::Directory)
        .map_err(|source| ContainerError::Mount { destination: "/dev".to_owned(), source })?;
    // proc comes last: before it there are no magic links for the image's own links to lead to.
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let system = if plan.privileged { safe } else { safe | MountFlags::RDONLY };
    mount_kernel(c"sysfs", c"/sys", system, None)?;
    mount_kernel(c"cgroup2", c"/sys/fs/cgroup", system, Some(c"nsdelegate"))?;
    mount_kernel(c"proc", c"/proc", safe, None)?;
    sysctl::apply(&plan.sysctls).map_err(ContainerError::Sysctl)?;

    for prepared in &plan.mounts {
        attach_prepared(prepared)?;
    }
    for prepared in &plan.files {
        // A mount that the user asked for at this very place wins, as in Docker.
        if !plan.mounts.iter().any(|mount| mount.destination == prepared.destination) {
            attach_prepared(prepared)?;
        }
    }
    for path in &plan.masked_paths {
        mask(path).map_err(|source| ContainerError::Mask { path: path.clone(), source })?;
    }
    for path in &plan.readonly_paths {
        make_read_only(path).map_err(|source| ContainerError::ReadOnly { path: path.clone(), source })?;
    }
    if plan.read_only_root {
        set_attributes(CWD, c"/", 0, MountAttrFlags::MOUNT_ATTR_RDONLY, 0)
            .map_err(|source| ContainerError::ReadOnly { path: "/".to_owned(), source })?;
    }
    Ok(())
}

/// Mounts a file system of the kernel at a fixed path.
fn mount_kernel(
    kind: &'static CStr,
    path: &'static CStr,
    flags: MountFlags,
    options: Option<&CStr>,
) -> Result<(), ContainerError> {
    let result = match mount(kind, path, kind, flags, options) {
        // An image from scratch has no directories at all.
        Err(Errno::NOENT) => mkdirat(CWD, path, Mode::from_raw_mode(0o755))
            .and_then(|()| mount(kind, path, kind, flags, options)),
        result => result,
    };
    let destination = || path.to_string_lossy().into_owned();
    result.map_err(|source| ContainerError::Mount { destination: destination(), source })
}

pub(super) fn attach_prepared(prepared: &PreparedMount) -> Result<(), ContainerError> {
    let destination = &prepared.destination;
    match &prepared.source {
        MountSource::Tree(tree) => attach(tree.as_fd(), destination, || kind_of(tree))
            .and_then(|()| set_propagation(tree, prepared.propagation))
            .map_err(|source| ContainerError::Mount { destination: destination.clone(), source }),
        MountSource::Bind { path, options } => bind(path, destination, options, prepared.propagation)
            .map_err(|source| ContainerError::Bind {
                path: path.clone(),
                destination: destination.clone(),
                source,
            }),
    }
}

fn bind(
    path: &str,
    destination: &str,
    options: &MountOptions,
    propagation: Option<u64>,
) -> Result<(), Errno> {
    let source = mount_points::open(path)?;
    let recursive = if options.recursive { AT_RECURSIVE } else { 0 };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::from_bits_retain(recursive);
    let tree = open_tree(&source, c"", flags)?;
    if !options.attributes.is_empty() {
        set_attributes(&tree, c"", recursive, options.attributes, 0)?;
    }
    attach(tree.as_fd(), destination, || kind_of(&source))?;
    set_propagation(&tree, propagation)
}

/// Puts a detached mount in its place, wherever the links of the image put that place inside it.
pub(super) fn attach(
    tree: std::os::fd::BorrowedFd<'_>,
    destination: &str,
    kind: impl FnOnce() -> Kind,
) -> Result<(), Errno> {
    let place = mount_points::open_or_make(destination.as_bytes(), kind)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

pub(super) fn kind_of(tree: &OwnedFd) -> Kind {
    match fstat(tree) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) != FileType::Directory => Kind::File,
        _ => Kind::Directory,
    }
}

/// OCI runtime specification, "Masked Paths": an empty file or directory over what is there.
fn mask(path: &str) -> Result<(), Errno> {
    let place = match mount_points::open(path) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error),
    };
    let tree = if kind_of(&place) == Kind::Directory {
        let empty = crate::mounts::FileSystem::open("tmpfs").and_then(|tmpfs| {
            tmpfs.set("size", "0")?;
            tmpfs.set("nr_inodes", "1")?;
            tmpfs.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
        });
        empty.map_err(|_| Errno::NOMEM)?
    } else {
        open_tree(CWD, c"/dev/null", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

/// OCI runtime specification, "Readonly Paths".
fn make_read_only(path: &str) -> Result<(), Errno> {
    let place = match mount_points::open(path) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error),
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::from_bits_retain(AT_RECURSIVE);
    let tree = open_tree(&place, c"", flags)?;
    set_attributes(&tree, c"", AT_RECURSIVE, MountAttrFlags::MOUNT_ATTR_RDONLY, 0)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, c"", &place, c"", flags)
}

fn set_propagation(tree: &OwnedFd, propagation: Option<u64>) -> Result<(), Errno> {
    match propagation {
        Some(propagation) => set_attributes(tree, c"", AT_RECURSIVE, MountAttrFlags::empty(), propagation),
        None => Ok(()),
    }
}

pub(super) fn set_attributes(
    directory: impl AsFd,
    path: &CStr,
    flags: u32,
    set: MountAttrFlags,
    propagation: u64,
) -> Result<(), Errno> {
    let access_time = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    let clear = if set.intersects(access_time) { libc::MOUNT_ATTR__ATIME } else { 0 };
    let attributes =
        libc::mount_attr { attr_set: set.bits().into(), attr_clr: clear, propagation, userns_fd: 0 };
    mounts::set_attributes(directory, path, flags, &attributes)
}
