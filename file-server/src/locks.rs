//! Locks of the guest's processes on files of the host.
//!
//! | in the guest | on the host |
//! |---|---|
//! | flock(2) | the same, of the open file that the guest's stands for |
//! | fcntl(2), of a process | of an open file (`F_OFD_SETLK`) that exists for this file and owner |
//!
//! They are taken at once or not at all: the guest's kernel asks again where a process waits.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, openat};
use virtiofsd::fuse::{FileLock, LK_FLOCK, LkIn, LkOut};

use crate::borrowed::bad_descriptor;

/// Each is an open descriptor.
const MAXIMUM_OWNERS: usize = 16 * 1024;

/// Those of fcntl(2), by file and owner. The locks of one end when its file is closed.
#[derive(Debug)]
pub(crate) struct Locks {
    descriptors: File,
    owners: Mutex<HashMap<(u64, u64), File>>,
}

impl Locks {
    /// `descriptors` is `/proc/self/fd`.
    pub(crate) fn new(descriptors: File) -> Self {
        Self { descriptors, owners: Mutex::default() }
    }

    pub(crate) fn set(&self, file: &File, inode: u64, request: &LkIn) -> io::Result<()> {
        if request.lk_flags & LK_FLOCK != 0 {
            return flock(file, request.lk.type_);
        }
        let mut lock = to_host(&request.lk)?;
        let mut owners = self.lock();
        let key = (inode, request.owner);
        if !owners.contains_key(&key) {
            if request.lk.type_ == libc::F_UNLCK as u32 {
                return Ok(());
            }
            if owners.len() >= MAXIMUM_OWNERS {
                return Err(io::Error::from_raw_os_error(libc::ENOLCK));
            }
            owners.insert(key, self.reopen(file)?);
        }
        match owners.get(&key) {
            Some(owned) => control(owned.as_raw_fd(), libc::F_OFD_SETLK, &mut lock),
            None => Err(bad_descriptor()),
        }
    }

    pub(crate) fn get(&self, file: &File, inode: u64, request: &LkIn) -> io::Result<LkOut> {
        let mut lock = to_host(&request.lk)?;
        let owners = self.lock();
        let fresh;
        let asking = match owners.get(&(inode, request.owner)) {
            Some(owned) => owned,
            None => {
                fresh = self.reopen(file)?;
                &fresh
            }
        };
        control(asking.as_raw_fd(), libc::F_OFD_GETLK, &mut lock)?;
        Ok(LkOut { lk: to_guest(&lock) })
    }

    /// All locks of this owner on this file.
    pub(crate) fn forget(&self, inode: u64, owner: u64) {
        self.lock().remove(&(inode, owner));
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Another open file of the same: one may be locked for reading and writing by its process whatever
    /// the descriptor was opened for that came with the request. The guest's kernel has checked that.
    fn reopen(&self, file: &File) -> io::Result<File> {
        let name = file.as_raw_fd().to_string();
        let open = |flags: OFlags| {
            openat(&self.descriptors, &name, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        };
        Ok(open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY))?.into())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), File>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

fn flock(file: &File, kind: u32) -> io::Result<()> {
    let operation = match i32::try_from(kind) {
        Ok(libc::F_RDLCK) => libc::LOCK_SH,
        Ok(libc::F_WRLCK) => libc::LOCK_EX,
        Ok(libc::F_UNLCK) => libc::LOCK_UN,
        _ => return Err(invalid()),
    };
    // SAFETY: takes a descriptor, which is open, and a number.
    match unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends are inclusive in FUSE, and the largest offset is the end of the file whatever its length.
fn to_host(lock: &FileLock) -> io::Result<libc::flock> {
    let start = i64::try_from(lock.start).map_err(|_| invalid())?;
    let end = i64::try_from(lock.end).map_err(|_| invalid())?;
    let length = match end {
        i64::MAX => 0,
        end if end >= start => end - start + 1,
        _ => return Err(invalid()),
    };
    // SAFETY: all-zero bytes are a valid flock; pid 0 is what F_OFD_SETLK wants.
    let mut host: libc::flock = unsafe { std::mem::zeroed() };
    host.l_type = libc::c_short::try_from(lock.type_).map_err(|_| invalid())?;
    host.l_start = start;
    host.l_len = length;
    Ok(host)
}

/// Who holds it is of another machine, or a number without meaning there.
fn to_guest(lock: &libc::flock) -> FileLock {
    let start = u64::try_from(lock.l_start).unwrap_or(0);
    let end = match u64::try_from(lock.l_len) {
        Ok(length @ 1..) => start.saturating_add(length - 1),
        _ => i64::MAX as u64,
    };
    FileLock { start, end, type_: u32::try_from(lock.l_type).unwrap_or(libc::F_UNLCK as u32), pid: 0 }
}

fn control(descriptor: RawFd, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open and the structure lives.
    match unsafe { libc::fcntl(descriptor, command, std::ptr::from_mut(lock)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(owner: u64, kind: i32, start: u64, end: u64) -> LkIn {
        let lk = FileLock { start, end, type_: kind as u32, pid: 0 };
        LkIn { fh: 0, owner, lk, lk_flags: 0, padding: 0 }
    }

    fn locks() -> (Locks, File) {
        let file = std::env::temp_dir().join(format!("locks-{:?}", std::thread::current().id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(file).unwrap();
        (Locks::new(File::open("/proc/self/fd").unwrap()), file)
    }

    #[test]
    fn owners_exclude_each_other_by_ranges() {
        let (locks, file) = locks();
        locks.set(&file, 1, &request(1, libc::F_WRLCK, 0, 9)).unwrap();
        locks.set(&file, 1, &request(1, libc::F_RDLCK, 5, 9)).unwrap();
        let refused = locks.set(&file, 1, &request(2, libc::F_WRLCK, 9, i64::MAX as u64)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN));
        locks.set(&file, 1, &request(2, libc::F_RDLCK, 5, 5)).unwrap();
        let found = locks.get(&file, 1, &request(3, libc::F_WRLCK, 0, i64::MAX as u64)).unwrap().lk;
        assert_ne!(found.type_, libc::F_UNLCK as u32);
        locks.forget(1, 1);
        locks.set(&file, 1, &request(2, libc::F_WRLCK, 0, i64::MAX as u64)).unwrap();
        let found = locks.get(&file, 1, &request(3, libc::F_RDLCK, 3, 4)).unwrap().lk;
        assert_eq!((found.start, found.end, found.type_), (0, i64::MAX as u64, libc::F_WRLCK as u32));
        locks.clear();
        let found = locks.get(&file, 1, &request(3, libc::F_RDLCK, 3, 4)).unwrap().lk;
        assert_eq!(found.type_, libc::F_UNLCK as u32);
    }

    #[test]
    fn f83_nonsense_is_refused() {
        let (locks, file) = locks();
        for (kind, start, end) in [
            (libc::F_WRLCK, u64::MAX, u64::MAX),
            (libc::F_WRLCK, 0, u64::MAX),
            (libc::F_WRLCK, 9, 3),
            (-1, 0, 9),
            (77, 0, 9),
        ] {
            assert!(locks.set(&file, 1, &request(1, kind, start, end)).is_err(), "{kind} {start} {end}");
        }
        assert!(flock(&file, 77).is_err());
    }
}
