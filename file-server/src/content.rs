//! Whether the guest may keep what it has read of a file when it opens it again.
//!
//! It may if nothing can have changed the content since it was opened before: the times of the file are those
//! of then, had been so for a while, so that another change would have brought others, and nobody had it open
//! for writing, for writing through a mapping changes the times once and not each time.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{fstat, fstatfs};
use virtiofsd::passthrough::credentials::UnixCredentials;

/// The coarsest clock of a file system that is in use, FAT's, has two seconds.
const REST: Duration = Duration::from_secs(3);
/// Whatever a guest opens; half a megabyte.
const MAXIMUM_KNOWN: usize = 8 * 1024;
/// linux/magic.h: file systems on which mappings never change a file's times.
const WITHOUT_TIMES: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// What changes with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: i64,
    changed: (i64, u64),
    modified: (i64, u64),
}

/// Files as they were when they were opened last, if they were at rest.
#[derive(Debug, Default)]
pub(crate) struct Content(Mutex<HashMap<u64, Stamp>>);

impl Content {
    /// Says whether the content is that of the last time, of a file that has just been opened.
    pub(crate) fn is_known(&self, file: &File, inode: u64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((stamp, rests)) = examine(file, SystemTime::now()) else {
            known.remove(&inode);
            return false;
        };
        let is_same = known.get(&inode) == Some(&stamp);
        if is_same {
            return true;
        }
        if !rests || is_written(file) {
            known.remove(&inode);
            return false;
        }
        // A guest that opens more begins anew.
        if known.len() >= MAXIMUM_KNOWN {
            known.clear();
        }
        known.insert(inode, stamp);
        false
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Nothing for what has no times that can be relied on.
fn examine(file: &File, now: SystemTime) -> Option<(Stamp, bool)> {
    let status = fstat(file).ok()?;
    let system = u32::try_from(fstatfs(file).ok()?.f_type).ok()?;
    if WITHOUT_TIMES.contains(&system) {
        return None;
    }
    let stamp = Stamp {
        size: status.st_size,
        changed: (status.st_ctime, status.st_ctime_nsec),
        modified: (status.st_mtime, status.st_mtime_nsec),
    };
    let latest = UNIX_EPOCH + Duration::from_secs(u64::try_from(status.st_ctime).ok()? + 1);
    Some((stamp, now.duration_since(latest).is_ok_and(|age| age >= REST)))
}

/// A lease for reading is given to nobody while somebody has the file open for writing, fcntl(2).
fn is_written(file: &File) -> bool {
    let lease = |kind: libc::c_int| {
        // SAFETY: takes a descriptor, which is open, and a number.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
    };
    // Given back at once: whoever opens the file for writing waits for that.
    let is_unwritten = || lease(libc::F_RDLCK) && lease(libc::F_UNLCK);
    if is_unwritten() {
        return false;
    }
    // Rights within a user namespace are none to leases, of which only the owner gets one there.
    let is_refused = io::Error::last_os_error().raw_os_error() == Some(libc::EACCES);
    let owner = || UnixCredentials::new(fstat(file).ok()?.st_uid.into(), 0.into()).set().ok().flatten();
    !(is_refused && owner().is_some_and(|_owner| is_unwritten()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, FileTimes, OpenOptions};

    use super::*;

    /// On a disk, as the build is.
    fn file(name: &str) -> (std::path::PathBuf, File) {
        let path = std::env::current_exe().unwrap().with_extension(name);
        fs::write(&path, "content").unwrap();
        (path.clone(), File::open(path).unwrap())
    }

    #[test]
    fn only_a_file_that_rested_is_known() {
        let (path, read) = file("rests");
        let content = Content::default();
        assert!(!content.is_known(&read, 1) && !content.is_known(&read, 1), "it is new");
        std::thread::sleep(REST + Duration::from_secs(1));
        assert!(!content.is_known(&read, 1), "nobody has seen it at rest");
        assert!(content.is_known(&read, 1));
        assert!(!content.is_known(&read, 2), "another one");
        // Of the same size and time.
        let times = FileTimes::new().set_modified(fs::metadata(&path).unwrap().modified().unwrap());
        fs::write(&path, "CONTENT").unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_times(times).unwrap();
        assert!(!content.is_known(&read, 1));
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        std::thread::sleep(REST + Duration::from_secs(1));
        assert!(
            !content.is_known(&read, 1) && !content.is_known(&read, 1),
            "it may be written through a mapping"
        );
        drop(writer);
        assert!(!content.is_known(&read, 1));
        assert!(content.is_known(&read, 1));
        fs::remove_file(path).unwrap();
    }
}
