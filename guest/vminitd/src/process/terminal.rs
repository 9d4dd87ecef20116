//! Pseudo terminals.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pty::{ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::devices_directory::PSEUDO_TERMINAL_MULTIPLEXER;

/// The line discipline hands out no more at once.
pub(crate) const TERMINAL_READ_BYTES: usize = 4096;

/// A new terminal in the container's devpts.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    /// "/dev/pts/0": the path in the container.
    pub(crate) path: CString,
}

/// Opens a terminal of the given size.
pub(crate) fn open(rows: u32, columns: u32) -> Result<Terminal, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let master = openat(CWD, PSEUDO_TERMINAL_MULTIPLEXER, flags, Mode::empty())?;
    unlockpt(&master)?;
    let path = ptsname(&master, Vec::new())?;
    if rows != 0 || columns != 0 {
        resize(&master, rows, columns)?;
    }
    Ok(Terminal { master, path })
}

/// Sets the size; the kernel tells the foreground processes by SIGWINCH.
pub(crate) fn resize(master: impl AsFd, rows: u32, columns: u32) -> Result<(), Errno> {
    let limit = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let size = Winsize { ws_row: limit(rows), ws_col: limit(columns), ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size)
}
