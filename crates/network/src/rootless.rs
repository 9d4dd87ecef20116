//! Networks of an ordinary user.
//!
//! ```text
//!  the host's user and network namespaces        a user namespace in which the user is root
//!                                                and a network namespace that belongs to it
//!  slirp4netns: a program's own connections ◀── frames ── uplink ◀─ masquerade ─ bridges, as for root
//!  listening sockets of published ports     ─── bytes ──▶ containers
//!                                                holder: keeps both namespaces when we die
//! ```
//!
//! Whoever makes a user namespace has all rights over the network namespaces that belong to it, and
//! none over the host's. So everything within is as root has it; only the way out is another. Threads
//! that stay in the host's network namespace open sockets there with the rights of the user.

pub(crate) mod holder;
mod host_addresses;
mod slirp;
mod uplink;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use thiserror::Error;

use crate::firewall::FirewallError;
use crate::netlink::NetlinkError;
use crate::uplink::UplinkError;
use crate::worker::WorkerError;

pub(crate) use uplink::UserUplink;

/// Why an ordinary user has no networks.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum RootlessError {
    /// unshare(2) or the identity files refused.
    #[error(
        "this host does not let ordinary users make user namespaces ('container system status' tells more)"
    )]
    UserNamespace(#[source] io::Error),
    /// setns(2) failed.
    #[error("cannot enter the namespaces of an earlier container-network")]
    Enter(#[source] io::Error),
    /// No holder.
    #[error("cannot keep the network namespace at '{}'", path.display())]
    Holder {
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
    /// No range for the uplink.
    #[error("no free uplink address on this host")]
    Exhausted,
    /// A device, address or list of them.
    #[error("cannot set up the network namespace")]
    Device(#[source] NetlinkError),
    /// A switch of the namespace.
    #[error("cannot prepare the network namespace")]
    Switches(#[source] UplinkError),
    /// nftables.
    #[error("cannot set up the rules of the network namespace")]
    Firewall(#[source] FirewallError),
    /// No thread for the uplink's device.
    #[error("cannot look after the uplink")]
    Worker(#[source] WorkerError),
    /// No thread.
    #[error("cannot start a thread for the host's addresses")]
    Spawn(#[source] io::Error),
}

/// The network namespace of this user's containers.
#[derive(Debug)]
pub(crate) struct Namespace {
    network: OwnedFd,
}

impl Namespace {
    fn network_namespace(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }
}

/// Makes the calling process root of a user namespace, which it must do before it has a second thread.
/// Its network namespace stays the host's.
pub(crate) fn enter(pin: &Path) -> Result<Namespace, RootlessError> {
    let holder = |source| RootlessError::Holder { path: pin.to_owned(), source };
    if let Some(held) = holder::find(pin).map_err(holder)? {
        move_into_link_name_space(held.user.as_fd(), Some(LinkNameSpaceType::User))
            .map_err(|error| RootlessError::Enter(error.into()))?;
        tracing::info!("taking over the namespaces of an earlier process");
        return Ok(Namespace { network: held.network });
    }
    become_root().map_err(RootlessError::UserNamespace)?;
    holder::start(pin).map_err(holder)?;
    let held = holder::find(pin).map_err(holder)?;
    let held = held.ok_or_else(|| holder(io::ErrorKind::ConnectionRefused.into()))?;
    Ok(Namespace { network: held.network })
}

/// user_namespaces(7): one's own ids may be mapped by anyone, groups once setgroups(2) is given up.
fn become_root() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: neither memory nor descriptors are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))
}
