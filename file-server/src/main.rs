//! container-virtiofs: serves one folder, or one file, of the host to one machine, as a virtio-fs
//! device over vhost-user.
//!
//! ```text
//!  runtime helper ── spawns with ──▶ descriptor 3: listening socket, the machine is its one client
//!                                    descriptor 4: what is shared, opened once, by the helper
//!                                    descriptor 5: by which it gets subordinate ids, if it has any
//!                                    working directory: a place for the new root
//!        waiter: nothing but the parent of
//!           └─▶ server: init of a PID namespace, its root is the shared folder
//! ```
//!
//! Every request comes from the guest, which is hostile. What a server that was taken over can still
//! do is listed in [`jail`]. It ends with its machine: the socket closes.

mod arguments;
mod borrowed;
mod calls;
mod content;
mod device;
mod folder;
mod jail;
mod locks;
mod mounts;
mod namespace;
mod rights;
mod serve;
mod unnamed;
mod watches;

use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context, Result};
use arguments::Arguments;
use namespace::Ids;

/// The listening socket.
const LISTENER: i32 = 3;
/// What is shared, as O_PATH.
const SHARED: i32 = 4;
/// The helper's answers about ids.
const IDS: i32 = 5;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    // SAFETY: whoever starts this program passes these two descriptors, and nothing here has used them.
    let (listener, shared) = unsafe { (OwnedFd::from_raw_fd(LISTENER), OwnedFd::from_raw_fd(SHARED)) };
    let files = jail::open_file_limit().context("cannot raise the limit of open files")?;
    let ids = match (rustix::process::geteuid().is_root(), arguments.subordinate_ids) {
        (true, _) => Ids::Host,
        (false, false) => Ids::OnlyUser,
        // SAFETY: as above; it is there if the argument says so.
        (false, true) => Ids::Subordinate(unsafe { OwnedFd::from_raw_fd(IDS) }.into()),
    };
    let owners = ids.owners();
    // What cannot be told is not relied on.
    let has_mounts = mounts::has_inner(&shared).unwrap_or(true);
    let Some(descriptors) = jail::enter(shared, ids, arguments.read_only)? else {
        // The waiter: the server has ended as this says.
        return Ok(ExitCode::SUCCESS);
    };
    let place = serve::Place { owners, has_mounts };
    serve::serve(listener, descriptors, &arguments, files, place)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the helper reads the reason there")]
fn complain(error: &anyhow::Error) {
    eprintln!("{error:#}");
}
