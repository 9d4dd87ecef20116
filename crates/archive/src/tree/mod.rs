//! File trees to tar streams and back, and to further trees.
//!
//! The top of a tree is named by a user and found as any path is. Everything below it may be changed by a
//! hostile process meanwhile, or is said by a hostile stream: it is looked up from the descriptor of the
//! directory above, one name at a time, and a link in the place of what was expected is an error.

mod attributes;
mod copy;
mod destination;
mod error;
mod extract;
mod layer;
mod node;
mod pack;
mod pseudo;
mod remove;
mod sparse;
mod top;

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

pub use copy::{Target, copy, copy_attributes};
pub use destination::{Destination, Placement};
pub use error::TreeError;
pub use extract::{ExtractOptions, Links, extract};
pub use layer::{is_opaque, is_whiteout, pack_layer};
pub use pack::{Scope, pack};
pub use remove::remove;
pub use top::Top;

/// An entry that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub reason: &'static str,
}

/// Opens one name in a directory; no link is followed, no mount of procfs leads away.
fn open_child(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // EAGAIN: a rename elsewhere made the kernel unsure (openat2(2)).
    loop {
        match openat2(directory, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}
