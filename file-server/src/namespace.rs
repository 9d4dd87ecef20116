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

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
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
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: this process has one thread; neither memory nor descriptors are unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
    if let Ids::Subordinate(helper) = ids {
        return ask(helper);
    }
    // user_namespaces(7): one's own ids may be mapped by anyone, groups once setgroups(2) is given up.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))
}

/// One byte says that the namespace is there; the answer is empty, or why it gets no ids.
fn ask(mut helper: UnixStream) -> io::Result<()> {
    helper.write_all(b"n")?;
    helper.shutdown(Shutdown::Write)?;
    let mut refusal = String::new();
    helper.read_to_string(&mut refusal)?;
    if !refusal.is_empty() {
        return Err(io::Error::other(refusal));
    }
    // A helper that died before it had mapped anything says nothing, too.
    match rustix::process::geteuid().is_root() && rustix::process::getegid().is_root() {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
