//! Detached mounts: made by PID 1 with the devices of the guest in reach, attached by the child
//! inside the container.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use bulkhead_guest_protocol::messages::Mount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
};
use thiserror::Error;

use crate::mount_options::{MountOptions, OptionError};
use crate::unused_names;

/// The file system of disks that are written to.
const DISK_TYPE: &str = "ext4";

/// Attributes that a further mount of a disk does not take over from the first.
const CLEARED: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// A file system could not be mounted.
#[derive(Debug, Error)]
pub(crate) enum MountError {
    #[error("kernel has no file system {kind:?}")]
    Open {
        kind: String,
        #[source]
        source: Errno,
    },
    #[error("{kind} refuses option {option:?}{log}")]
    Configure {
        kind: String,
        option: String,
        log: String,
        #[source]
        source: Errno,
    },
    #[error("cannot mount {kind}{log}")]
    Create {
        kind: String,
        log: String,
        #[source]
        source: Errno,
    },
    #[error("cannot mount {device} a second time")]
    Again {
        device: String,
        #[source]
        source: Errno,
    },
    #[error("no {subpath:?} in {kind} file system")]
    Subpath {
        kind: String,
        subpath: String,
        #[source]
        source: Errno,
    },
    #[error("invalid mount of {destination:?}")]
    Options {
        destination: String,
        #[source]
        source: OptionError,
    },
    #[error("mount destination {destination:?} is not absolute")]
    RelativeDestination { destination: String },
}

/// A configuration context of fsopen(2) that remembers what to say when the kernel refuses.
#[derive(Debug)]
pub(crate) struct FileSystem<'a> {
    kind: &'a str,
    context: OwnedFd,
}

impl<'a> FileSystem<'a> {
    pub(crate) fn open(kind: &'a str) -> Result<Self, MountError> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|source| MountError::Open { kind: kind.to_owned(), source })?;
        Ok(Self { kind, context })
    }

    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), MountError> {
        fsconfig_set_string(&self.context, key, value)
            .map_err(|source| self.refused(format!("{key}={value}"), source))
    }

    /// A disk. ext4 would read the bitmaps of all its block groups in the background of the first seconds, and keep a
    /// page for each 128 MiB that the disk could have, used or not.
    pub(crate) fn open_disk() -> Result<Self, MountError> {
        let disk = Self::open(DISK_TYPE)?;
        disk.set_flag("no_prefetch_block_bitmaps")?;
        Ok(disk)
    }

    pub(crate) fn set_flag(&self, key: &str) -> Result<(), MountError> {
        fsconfig_set_flag(&self.context, key).map_err(|source| self.refused(key.to_owned(), source))
    }

    pub(crate) fn set_descriptor(&self, key: &str, value: BorrowedFd<'_>) -> Result<(), MountError> {
        fsconfig_set_fd(&self.context, key, value).map_err(|source| self.refused(key.to_owned(), source))
    }

    /// Creates the file system and a detached mount of it.
    pub(crate) fn mount(&self, attributes: MountAttrFlags) -> Result<OwnedFd, MountError> {
        self.mount_with(FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    pub(crate) fn mount_with(
        &self,
        flags: FsMountFlags,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd, MountError> {
        fsconfig_create(&self.context)
            .and_then(|()| fsmount(&self.context, flags, attributes))
            .map_err(|source| MountError::Create { kind: self.kind.to_owned(), log: self.log(), source })
    }

    fn refused(&self, option: String, source: Errno) -> MountError {
        MountError::Configure { kind: self.kind.to_owned(), option, log: self.log(), source }
    }

    /// What the kernel wrote about the failure: one message per read, "e erofs: ...".
    fn log(&self) -> String {
        let mut buffer = [0; 256];
        let length = rustix::io::read(&self.context, &mut buffer).unwrap_or(0);
        let text = String::from_utf8_lossy(buffer.get(2..length).unwrap_or_default());
        if text.is_empty() { String::new() } else { format!(" ({})", text.trim_end()) }
    }
}

/// What the child attaches.
#[derive(Debug)]
pub(crate) enum MountSource {
    /// A detached mount.
    Tree(OwnedFd),
    /// A path inside the container.
    Bind { path: String, options: MountOptions },
}

/// A mount that only lacks its place.
#[derive(Debug)]
pub(crate) struct PreparedMount {
    pub(crate) source: MountSource,
    /// Absolute, in the container.
    pub(crate) destination: String,
    /// Options that fsmount(2) does not know: propagation.
    pub(crate) propagation: Option<u64>,
}

/// Makes the detached mounts of a container.
pub(crate) fn prepare(mounts: &[Mount]) -> Result<Vec<PreparedMount>, MountError> {
    if mounts.iter().any(|mount| mount.r#type == "virtiofs") {
        unused_names::forget_regularly();
    }
    let mut prepared = Vec::with_capacity(mounts.len());
    for (index, mount) in mounts.iter().enumerate() {
        let same = |other: &&Mount| is_disk(mount) && is_disk(other) && other.source == mount.source;
        // A disk can only be mounted alike: the first mount is made so that it suits them all.
        let shared = mounts.iter().filter(same).count() > 1;
        let first =
            mounts[..index].iter().position(|other| same(&other)).and_then(|first| prepared.get(first));
        prepared.push(prepare_one(mount, first, shared)?);
    }
    Ok(prepared)
}

fn is_disk(mount: &Mount) -> bool {
    mount.r#type == DISK_TYPE
}

/// A further mount of a disk with options of its own.
fn again(first: &PreparedMount, mount: &Mount, attributes: MountAttrFlags) -> Result<OwnedFd, MountError> {
    let failed = |source| MountError::Again { device: mount.source.clone(), source };
    let MountSource::Tree(tree) = &first.source else { return Err(failed(Errno::INVAL)) };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(tree, c"", flags).map_err(failed)?;
    // The clone begins with those of the first mount.
    let attributes = libc::mount_attr {
        attr_set: attributes.bits().into(),
        attr_clr: CLEARED | libc::MOUNT_ATTR__ATIME,
        propagation: 0,
        userns_fd: 0,
    };
    set_attributes(&tree, c"", 0, &attributes).map_err(failed)?;
    Ok(tree)
}

fn prepare_one(
    mount: &Mount,
    first: Option<&PreparedMount>,
    shared: bool,
) -> Result<PreparedMount, MountError> {
    let destination = mount.destination.clone();
    if !destination.starts_with('/') {
        return Err(MountError::RelativeDestination { destination });
    }
    let options = MountOptions::parse(&mount.options)
        .map_err(|source| MountError::Options { destination: destination.clone(), source })?;
    let propagation = options.propagation;
    if options.bind || mount.r#type == "bind" {
        let source = MountSource::Bind { path: mount.source.clone(), options };
        return Ok(PreparedMount { source, destination, propagation });
    }
    if let Some(first) = first {
        let tree = again(first, mount, options.attributes)?;
        return Ok(PreparedMount { source: MountSource::Tree(tree), destination, propagation });
    }
    let file_system =
        if is_disk(mount) { FileSystem::open_disk()? } else { FileSystem::open(&mount.r#type)? };
    if !mount.source.is_empty() {
        file_system.set("source", &mount.source)?;
    }
    for (key, value) in &options.file_system {
        // A disk that may not be written at all says so itself.
        if shared && key == "ro" {
            continue;
        }
        match value {
            Some(value) => file_system.set(key, value)?,
            None => file_system.set_flag(key)?,
        }
    }
    let mut tree = file_system.mount(options.attributes)?;
    if !mount.subpath.is_empty() {
        tree = subtree(tree.as_fd(), mount)?;
    }
    Ok(PreparedMount { source: MountSource::Tree(tree), destination, propagation })
}

/// The part of a file system that the subpath names. Whoever wrote the file system may have put
/// symbolic links there: they must not lead out of it.
fn subtree(tree: BorrowedFd<'_>, mount: &Mount) -> Result<OwnedFd, MountError> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    openat2(tree, mount.subpath.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
        .and_then(|part| open_tree(part, c"", flags))
        .map_err(|source| MountError::Subpath {
            kind: mount.r#type.clone(),
            subpath: mount.subpath.clone(),
            source,
        })
}

/// mount_setattr(2), which rustix does not wrap.
pub(crate) fn set_attributes(
    directory: impl AsFd,
    path: &CStr,
    flags: u32,
    attributes: &libc::mount_attr,
) -> Result<(), Errno> {
    let flags = flags | if path.is_empty() { libc::AT_EMPTY_PATH as u32 } else { 0 };
    // SAFETY: the path ends with a null and the structure is as long as its size says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags,
            ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    Ok(())
}

/// A detached bind mount of one path in PID 1's own tree.
pub(crate) fn clone_of(path: &str) -> Result<OwnedFd, Errno> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}
