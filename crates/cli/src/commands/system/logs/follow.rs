//! Waits for more with inotify(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Wakes when a file of a folder changes.
#[derive(Debug)]
pub(super) struct Watch(OwnedFd);

impl Watch {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC)?;
        // The folder rather than the files: they are renamed when they are full.
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&descriptor, folder, flags)?;
        Ok(Self(descriptor))
    }

    /// What changed does not matter: whoever waits reads everything there is.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut buffer).map(|_| ()))?;
        Ok(())
    }
}
