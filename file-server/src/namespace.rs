//! The user namespace of a server without root, and whom files in what is shared can belong to.
//!
//! | | in the namespace | files belong to |
//! |---|---|---|
//! | root's server | none of its own | whom the guest says |
//! | with subordinate ids, subuid(5) | 0 is the user, 1 and further are these | whom the guest says, within |
//! | without | 0 is the user | the user |
//!
//! A namespace cannot map ids that are not its maker's own. So the server makes it, asks the helper, which has
//! newuidmap(1) and newgidmap(1) do it, and waits.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::thread::UnshareFlags;

/// How to come to ids.
#[derive(Debug)]
pub(crate) enum Ids {
    /// As root all are there.
    Host,
    /// By what is at the other end of this.
    Subordinate(UnixStream),
    /// There are no others.
    OnlyUser,
}

/// Whose files there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Whoever has an id on the host.
    Host,
    /// The user, whom the guest sees as root, and whoever has one of his subordinate ids.
    Subordinate,
    /// The user.
    OnlyUser,
}

impl Ids {
    pub(crate) fn owners(&self) -> Owners {
        match self {
            Self::Host => Owners::Host,
            Self::Subordinate(_) => Owners::Subordinate,
            Self::OnlyUser => Owners::OnlyUser,
        }
    }
}

/// Makes this process root of a user namespace, with a copy of the mounts. It has one thread.
pub(crate) fn enter(ids: Ids) -> io::Result<()> {
    match ids {
        Ids::Subordinate(helper) => bulkhead_subordinate_ids::enter(helper),
        Ids::Host | Ids::OnlyUser => bulkhead_subordinate_ids::become_only_user(),
    }
    .map_err(io::Error::other)?;
    // SAFETY: this process has one thread; neither memory nor descriptors are unshared.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?)
}
