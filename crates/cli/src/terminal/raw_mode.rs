//! Raw mode, undone on every way out that leaves this process a chance.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios};

/// What is to be restored; static, because the panic hook must reach it (a panic aborts).
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

#[derive(Debug)]
struct Saved {
    terminal: OwnedFd,
    attributes: Termios,
}

/// Raw mode as long as it lives.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Turns raw mode on: every key is a byte for the container, Ctrl-C included.
    pub(crate) fn enter(terminal: &impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let attributes = rustix::termios::tcgetattr(&terminal)?;
        let mut raw = attributes.clone();
        raw.make_raw();
        install_panic_hook();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &raw)?;
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Saved { terminal, attributes });
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether a newline needs a carriage return.
pub(crate) fn is_active() -> bool {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

fn restore() {
    // Not `lock`: the panic may have come while it was held.
    if let Ok(mut saved) = SAVED.try_lock()
        && let Some(saved) = saved.take()
    {
        // A terminal that is gone has no mode to restore.
        let _ = rustix::termios::tcsetattr(&saved.terminal, OptionalActions::Now, &saved.attributes);
    }
}

fn install_panic_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        restore();
        previous(information);
    }));
}
