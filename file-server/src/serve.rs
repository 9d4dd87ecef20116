//! The virtio-fs device itself, which is virtiofsd's.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use vhost::vhost_user::{Error as ConnectionError, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon, bitmap::BitmapMmapRegion};
use virtiofsd::passthrough::{CachePolicy, Config, PassthroughFs};
use virtiofsd::vhost_user::VhostUserFsBackendBuilder;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::arguments::Arguments;
use crate::rights;

/// Descriptors that are not the guest's: sockets, queues, those of the moment.
const OWN_DESCRIPTORS: u64 = 128;

/// Serves the one client until it is gone.
pub(crate) fn serve(listener: OwnedFd, descriptors: File, arguments: &Arguments, files: u64) -> Result<()> {
    // Zero: whoever looks asks the host, which may have changed the file in the meantime. File content
    // is cached, and dropped when the host has written.
    let timeout = if arguments.relaxed { Duration::from_secs(1) } else { Duration::ZERO };
    let file_system = PassthroughFs::new(Config {
        entry_timeout: timeout,
        attr_timeout: timeout,
        cache_policy: CachePolicy::Auto,
        root_dir: "/".to_owned(),
        xattr: true,
        proc_sfd_rawfd: Some(descriptors),
        readdirplus: arguments.relaxed,
        guest_fd_limit: files.saturating_sub(OWN_DESCRIPTORS),
        ..Config::default()
    })
    .context("cannot prepare the file system")?;
    rights::restrict(arguments.read_only).context("cannot give up rights")?;
    let backend = VhostUserFsBackendBuilder::default()
        .set_tag(Some(arguments.tag.clone()))
        .build(file_system)
        .context("cannot prepare the device")?;
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::<BitmapMmapRegion>::new());
    let mut daemon = VhostUserDaemon::new(arguments.tag.clone(), Arc::new(backend), memory)
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
