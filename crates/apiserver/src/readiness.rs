//! Tells the process that started us when requests are served, so that it need not poll.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use anyhow::Context;

/// The inherited descriptor that waits for our byte.
#[derive(Debug)]
pub(crate) struct Readiness(Option<ManuallyDrop<File>>);

impl Readiness {
    /// Takes over the descriptor named on the command line.
    pub(crate) fn take(descriptor: Option<RawFd>) -> anyhow::Result<Self> {
        let Some(number) = descriptor else { return Ok(Self(None)) };
        // SAFETY: whoever passed the number gave it to us; called once, before anything else was
        // opened, so that nothing in this process owns it. It is checked to be open.
        let file = unsafe { File::from_raw_fd(number) };
        let file = ManuallyDrop::new(file);
        rustix::io::fcntl_setfd(&*file, rustix::io::FdFlags::CLOEXEC)
            .with_context(|| format!("descriptor {number} of --ready-descriptor is not open"))?;
        Ok(Self(Some(file)))
    }

    /// Writes the byte, then lets the other end see the end of file while the number stays taken
    /// (see [`crate::spawn::reserve_descriptors`]).
    pub(crate) fn announce(self) {
        let Some(mut file) = self.0 else { return };
        if let Err(error) = file.write_all(b"\n") {
            tracing::warn!("nobody waits for readiness: {error}");
        }
        let replaced = File::open("/dev/null").and_then(|null| {
            let mut descriptor = ManuallyDrop::new(OwnedFd::from(ManuallyDrop::into_inner(file)));
            rustix::io::dup3(&null, &mut descriptor, rustix::io::DupFlags::CLOEXEC)?;
            Ok(())
        });
        if let Err(error) = replaced {
            tracing::warn!("cannot close the readiness descriptor: {error}");
        }
    }
}
