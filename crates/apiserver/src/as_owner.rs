//! Work on files that a container of an ordinary user gave to others: to his subordinate ids, or to himself without
//! the right to look at them. In a user namespace he is root over all of these; this process has threads and cannot go
//! into one, so a child does.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use bulkhead_subordinate_ids::SubordinateIds;

use crate::trash;
use crate::volume;

/// The argument that makes this program such a child.
pub(crate) const ARGUMENT: &str = "--as-owner-of-files";
/// What it is called.
const NAME: &str = "container-apiserver-files";
/// This program, whatever has become of its name.
const PROGRAM: &str = "/proc/self/exe";
const REMOVE: &str = "remove";
const MEASURE: &str = "measure";
/// Where the ids come from.
const SUBORDINATE: &str = "subordinate";
const ONLY_USER: &str = "only-user";

/// Whether a failure is one that a child would not have.
pub(crate) fn helps(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root()
}

/// Removes a directory and all below it.
///
/// # Errors
/// Some of it belongs to somebody else.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    run(REMOVE, path).map(drop)
}

/// What is below a directory takes so many bytes.
///
/// # Errors
/// There is no user namespace.
pub(crate) fn measure(path: &Path) -> io::Result<u64> {
    run(MEASURE, path)?.trim().parse().map_err(io::Error::other)
}

fn run(work: &str, path: &Path) -> io::Result<String> {
    let ids = SubordinateIds::of_this_user().ok();
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(PROGRAM);
    command.arg0(NAME).arg(ARGUMENT);
    command.arg(if ids.is_some() { SUBORDINATE } else { ONLY_USER }).arg(work).arg(path);
    command.env_clear().current_dir("/").stdin(OwnedFd::from(theirs));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // The end that is the child's alone from now on.
    drop(command);
    // The child says by itself what was wrong.
    let _ = ids.map(|ids| ids.answer(ours, child.id()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(io::Error::other(if complaint.is_empty() { output.status.to_string() } else { complaint }))
}

/// The program of a child; `words` are what follows [`ARGUMENT`].
pub(crate) fn child(words: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let words: Vec<OsString> = words.collect();
    let [ids, work, path] = &words[..] else { bail!("three arguments are needed") };
    let path = PathBuf::from(path);
    if ids == SUBORDINATE {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        bulkhead_subordinate_ids::enter(stream)?;
    } else {
        bulkhead_subordinate_ids::become_only_user()?;
    }
    if work == REMOVE {
        trash::remove_tree(&path).with_context(|| format!("cannot remove '{}'", path.display()))?;
    } else if work == MEASURE {
        tell(volume::occupied_bytes(&path));
    } else {
        bail!("nothing to do");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the service reads it there")]
fn tell(bytes: u64) {
    println!("{bytes}");
}
