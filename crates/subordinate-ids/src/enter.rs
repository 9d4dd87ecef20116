//! The side of who goes into a user namespace.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::thread::{UnshareFlags, unshare_unsafe};
use thiserror::Error;

/// Why this process is in no namespace.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnterError {
    /// unshare(2) refused, or the map of the user alone.
    #[error("cannot make a user namespace")]
    Make(#[source] io::Error),
    /// Who stays outside is gone.
    #[error("cannot ask for subordinate ids")]
    Ask(#[source] io::Error),
    /// It says why there are no ids.
    #[error("{0}")]
    Refused(String),
}

/// Makes this process root of a user namespace in which the user's subordinate ids are, by what
/// [`crate::SubordinateIds::answer`] does at the other end. It must have one thread.
///
/// # Errors
/// [`EnterError`]
pub fn enter(mut stream: UnixStream) -> Result<(), EnterError> {
    make().map_err(EnterError::Make)?;
    let mut refusal = String::new();
    let asked = stream.write_all(b"n").and_then(|()| stream.shutdown(Shutdown::Write));
    asked.and_then(|()| stream.read_to_string(&mut refusal)).map_err(EnterError::Ask)?;
    if !refusal.is_empty() {
        return Err(EnterError::Refused(refusal));
    }
    // Whoever died before it had mapped anything says nothing, too.
    if rustix::process::geteuid().is_root() && rustix::process::getegid().is_root() {
        return Ok(());
    }
    Err(EnterError::Ask(io::ErrorKind::UnexpectedEof.into()))
}

/// Makes this process root of a user namespace in which nobody else is. It must have one thread.
///
/// # Errors
/// [`EnterError::Make`]
pub fn become_only_user() -> Result<(), EnterError> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // user_namespaces(7): one's own ids may be mapped by anyone, groups once setgroups(2) is given up.
    let made = make()
        .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1\n")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1\n")));
    made.map_err(EnterError::Make)
}

fn make() -> io::Result<()> {
    // SAFETY: neither memory nor descriptors are unshared.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?)
}
