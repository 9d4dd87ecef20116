//! A group of fanotify(7).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};

use super::mask;

/// Without rights that is all: files are named, not opened, and only inodes are marked.
const REPORTS: u32 = libc::FAN_REPORT_FID | libc::FAN_REPORT_DFID_NAME;
/// What is told of a file, and of one in a directory.
const OF_FILES: u32 = mask::CONTENT | mask::OWN;
const OF_DIRECTORIES: u32 = OF_FILES | mask::CREATE | mask::DELETE | mask::ON_CHILD;
/// Some hundred events.
const BUFFER_BYTES: usize = 32 * 1024;

pub(super) struct Group(File);

impl Group {
    /// # Errors
    /// `ENOSYS` if the host has none that tells names and renames, before Linux 5.17.
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | REPORTS;
        // SAFETY: takes numbers and makes a descriptor.
        let descriptor = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        if descriptor < 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EINVAL | libc::EPERM) => io::Error::from_raw_os_error(libc::ENOSYS),
                _ => error,
            });
        }
        // SAFETY: it has just been made, and is nobody else's.
        Ok(Self(unsafe { File::from_raw_fd(descriptor) }))
    }

    pub(super) fn mark(&self, file: &File, is_directory: bool, wanted: u32) -> io::Result<()> {
        let mut mask = u64::from(wanted & if is_directory { OF_DIRECTORIES } else { OF_FILES });
        // The last name of a file that is open goes as a change of its attributes.
        if wanted & mask::DELETE_SELF != 0 {
            mask |= u64::from(mask::ATTRIBUTES);
        }
        if is_directory {
            mask |= u64::from(mask::IS_DIRECTORY);
            if wanted & (mask::MOVED_FROM | mask::MOVED_TO) != 0 {
                mask |= libc::FAN_RENAME;
            }
        }
        self.control(libc::FAN_MARK_ADD, mask, file.as_raw_fd())
    }

    pub(super) fn unmark(&self, file: &File) -> io::Result<()> {
        let mut mask = u64::from(OF_FILES);
        if file.metadata()?.is_dir() {
            mask = u64::from(OF_DIRECTORIES | mask::IS_DIRECTORY) | libc::FAN_RENAME;
        }
        match self.control(libc::FAN_MARK_REMOVE, mask, file.as_raw_fd()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.control(libc::FAN_MARK_FLUSH, 0, libc::AT_FDCWD)
    }

    /// Waits for events.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = (&self.0).read(buffer)?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// fanotify_mark(2): without a path it is about the descriptor itself; nor does a flush need one.
    fn control(&self, flags: u32, mask: u64, file: RawFd) -> io::Result<()> {
        // SAFETY: takes numbers, and no path.
        match unsafe { libc::fanotify_mark(self.0.as_raw_fd(), flags, mask, file, std::ptr::null()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

pub(super) fn buffer() -> Vec<u8> {
    vec![0; BUFFER_BYTES]
}
