//! Names of shared folders that nobody uses any more.
//!
//! The kernel remembers what it looked up, and the server on the host keeps each such file open, so
//! that the space of one that the host deletes is not free before the guest has forgotten it.

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use crate::mounts::FileSystem;

/// Seconds between two rounds in which the kernel forgets what is not in use: the least it takes.
const PERIOD: &[u8] = b"5";

/// Makes the kernel forget them. A kernel that cannot keeps them until it wants the memory.
pub(crate) fn forget_regularly() {
    let Ok(tree) = FileSystem::open("sysfs").and_then(|system| system.mount(MountAttrFlags::empty())) else {
        return;
    };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(parameter) = openat(&tree, "module/fuse/parameters/inval_wq", flags, Mode::empty()) {
        // Refused by no kernel that has it.
        let _ = rustix::io::write(&parameter, PERIOD);
    }
}
