//! The virtio-fs device itself, which is virtiofsd's.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use vhost::vhost_user::{Error as ConnectionError, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use virtiofsd::passthrough::{CachePolicy, Config, NegotiationMode, PassthroughFs};
use virtiofsd::soft_idmap::cmdline::IdMap;
use vm_memory::GuestMemoryMmap;

use crate::arguments::Arguments;
use crate::device::{Device, Memory};
use crate::folder::Folder;
use crate::namespace::Owners;
use crate::rights;
use crate::unnamed::Files;

fn everybody_is_root() -> Vec<IdMap> {
    vec![IdMap::SquashGuest { from_guest: 0, to_host: 0, count: u32::MAX }]
}

/// Descriptors that are not the guest's: sockets, queues, those of the moment.
const OWN_DESCRIPTORS: u64 = 128;
/// What of the rest files without a name may have, and how many that are at most.
const UNNAMED_SHARE: u64 = 4;
const MAXIMUM_UNNAMED: u64 = 64 * 1024;

/// Where the server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Whose files there can be.
    pub(crate) owners: Owners,
    /// Something is mounted inside of what is shared.
    pub(crate) has_mounts: bool,
}

/// Serves the one client until it is gone.
pub(crate) fn serve(
    listener: OwnedFd,
    descriptors: File,
    arguments: &Arguments,
    limit: u64,
    place: Place,
) -> Result<()> {
    let Place { owners, has_mounts } = place;
    let one_user = owners == Owners::OnlyUser;
    // Zero: whoever looks asks the host, which may have changed the file in the meantime; the guest's
    // kernel stretches that to a millisecond, and to five for what a listing brought
    // (kernel/patches, 0016). File content is cached, and dropped when the host has written.
    let timeout = if arguments.relaxed { Duration::from_secs(1) } else { Duration::ZERO };
    let copy = || descriptors.try_clone().context("cannot copy a descriptor");
    let (own, of_unnamed) = (copy()?, copy()?);
    let limit = limit.saturating_sub(OWN_DESCRIPTORS);
    let unnamed = MAXIMUM_UNNAMED.min(limit / UNNAMED_SHARE);
    let files = PassthroughFs::new(Config {
        entry_timeout: timeout,
        attr_timeout: timeout,
        cache_policy: CachePolicy::Auto,
        root_dir: "/".to_owned(),
        xattr: true,
        // Lists name users and groups by their numbers, which are those of the host as owners are.
        posix_acl: NegotiationMode::Auto,
        proc_sfd_rawfd: Some(descriptors),
        readdirplus: true,
        guest_fd_limit: limit - unnamed,
        uid_map: one_user.then(everybody_is_root),
        gid_map: one_user.then(everybody_is_root),
        ..Config::default()
    })
    .context("cannot prepare the file system")?;
    rights::restrict(arguments.read_only).context("cannot give up rights")?;
    let files = Files::new(files, of_unnamed, owners, timeout, usize::try_from(unnamed)?);
    let folder = Folder::new(files, own);
    if has_mounts {
        folder.keep_no_names();
    }
    let device = Device::new(&arguments.tag, folder)?;
    let memory = Memory::new(GuestMemoryMmap::new());
    let mut daemon = VhostUserDaemon::new(arguments.tag.clone(), Arc::new(device), memory)
        .map_err(|error| anyhow!("cannot start the device: {error}"))?;
    let mut listener = Listener::from(UnixListener::from(listener));
    daemon.start(&mut listener).map_err(|error| anyhow!("cannot accept the machine: {error}"))?;
    match daemon.wait() {
        Ok(())
        | Err(DaemonError::HandleRequest(ConnectionError::Disconnected | ConnectionError::PartialMessage)) => {
            Ok(())
        }
        Err(error) => bail!("the machine broke the rules of its device: {error}"),
    }
}
