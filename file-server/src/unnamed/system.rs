//! What programs do with files that had no name when the guest learned of them, which virtiofsd does for all others.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FallocateFlags, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
    XattrFlags, chmodat, chownat, fallocate, fgetxattr, flistxattr, fremovexattr, fsetxattr, ftruncate,
    linkat, openat, seek, utimensat,
};
use virtiofsd::filesystem::{
    Context, Entry, FileSystem, GetxattrReply, ListxattrReply, OpenOptions, SetattrValid, SetxattrFlags,
    ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};
use virtiofsd::oslib::WritevFlags;
use virtiofsd::passthrough::PassthroughFs;
use virtiofsd::soft_idmap::Id as _;

use super::table::Table;

/// linux/limits.h: neither a value nor a list of names is longer.
const MAXIMUM_ATTRIBUTE: usize = 64 * 1024;
/// What a program may say of how it opens a file. Of its own it has `O_APPEND`, which comes with each write, and
/// `O_DIRECT`, which virtiofsd leaves out as well.
const OPENING: OFlags = OFlags::RDWR.union(OFlags::WRONLY).union(OFlags::TRUNC).union(OFlags::SYNC);

pub(super) struct Unnamed {
    pub(super) table: Table,
    /// `/proc/self/fd`.
    descriptors: File,
    one_user: bool,
    timeout: Duration,
}

impl Unnamed {
    pub(super) fn new(table: Table, descriptors: File, one_user: bool, timeout: Duration) -> Self {
        Self { table, descriptors, one_user, timeout }
    }

    /// Makes one in a directory, for whom this thread is just now; returns it.
    pub(super) fn make(directory: &File, flags: u32, mode: u32) -> io::Result<OwnedFd> {
        let wanted = OFlags::from_bits_retain(flags);
        // What is not linked with O_EXCL will never be, open(2).
        let flags = OFlags::TMPFILE | OFlags::CLOEXEC | wanted.intersection(OPENING | OFlags::EXCL);
        let flags = flags.difference(OFlags::TRUNC);
        Ok(openat(directory, c".", flags, Mode::from_bits_truncate(mode & 0o7777))?)
    }

    /// Keeps one that has just been made.
    pub(super) fn keep(&self, open: OwnedFd) -> io::Result<(Entry, u64)> {
        let open = File::from(open);
        let file = self.reopen(&open, OFlags::PATH)?;
        let attr = self.attributes(&file)?;
        let (inode, handle) = self.table.insert(file, open)?;
        Ok((self.entry(inode, attr), handle))
    }

    /// Gives it a name.
    pub(super) fn link_at(&self, inode: u64, directory: &File, name: &CStr) -> io::Result<Entry> {
        // Nothing leads elsewhere.
        if name.to_bytes().contains(&b'/') {
            return Err(invalid());
        }
        let file = self.table.node(inode)?;
        linkat(&self.descriptors, number(&file), directory, name, AtFlags::SYMLINK_FOLLOW)?;
        self.table.tell(inode)?;
        Ok(self.entry(inode, self.attributes(&file)?))
    }

    fn entry(&self, inode: u64, attr: Attr) -> Entry {
        Entry { inode, generation: 0, attr, attr_timeout: self.timeout, entry_timeout: self.timeout }
    }

    fn reopen(&self, file: &File, flags: OFlags) -> io::Result<File> {
        Ok(openat(&self.descriptors, number(file), flags | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    /// Attributes are not reached by O_PATH.
    fn readable(&self, inode: u64) -> io::Result<File> {
        self.reopen(&*self.table.node(inode)?, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// The guest sees users by the host's numbers.
    fn attributes(&self, file: &File) -> io::Result<Attr> {
        let status = file.metadata()?;
        Ok(Attr {
            ino: status.ino(),
            size: status.size(),
            blocks: status.blocks(),
            atime: status.atime() as u64,
            mtime: status.mtime() as u64,
            ctime: status.ctime() as u64,
            atimensec: small(status.atime_nsec())?,
            mtimensec: small(status.mtime_nsec())?,
            ctimensec: small(status.ctime_nsec())?,
            mode: status.mode(),
            nlink: small(status.nlink())?,
            uid: status.uid().into(),
            gid: status.gid().into(),
            rdev: 0,
            blksize: small(status.blksize())?,
            flags: 0,
        })
    }

    /// As who is known on the host; there may be one user only.
    fn owner(&self, guest: u32) -> io::Result<u32> {
        match guest {
            // Nobody has it, chown(2).
            u32::MAX => Err(invalid()),
            _ if self.one_user => Ok(0),
            guest => Ok(guest),
        }
    }

    fn change_owner(&self, file: &File, wanted: &SetattrIn, valid: SetattrValid) -> io::Result<()> {
        let user = valid.contains(SetattrValid::UID).then(|| self.owner(wanted.uid.into_inner()));
        let group = valid.contains(SetattrValid::GID).then(|| self.owner(wanted.gid.into_inner()));
        let (user, group) = (user.transpose()?, group.transpose()?);
        Ok(chownat(file, c"", user.map(Uid::from_raw), group.map(Gid::from_raw), AtFlags::EMPTY_PATH)?)
    }
}

/// Its name in `/proc/self/fd`.
fn number(file: &File) -> String {
    file.as_raw_fd().to_string()
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

fn small(number: impl TryInto<u32>) -> io::Result<u32> {
    number.try_into().map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

fn times(wanted: &SetattrIn, valid: SetattrValid) -> Timestamps {
    let time = |is_now, is_given, seconds: u64, nanoseconds: u32| match (is_now, is_given) {
        (true, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        (_, true) => Timespec { tv_sec: seconds as i64, tv_nsec: nanoseconds.into() },
        _ => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let is = |flag| valid.contains(flag);
    let (access, modification) = (SetattrValid::ATIME, SetattrValid::MTIME);
    Timestamps {
        last_access: time(is(SetattrValid::ATIME_NOW), is(access), wanted.atime, wanted.atimensec),
        last_modification: time(
            is(SetattrValid::MTIME_NOW),
            is(modification),
            wanted.mtime,
            wanted.mtimensec,
        ),
    }
}

/// Methods as [`PassthroughFs`] has them.
impl FileSystem for Unnamed {
    type Inode = u64;
    type Handle = u64;
    type DirIter = <PassthroughFs as FileSystem>::DirIter;

    fn getattr(&self, _context: Context, inode: u64, _handle: Option<u64>) -> io::Result<(Attr, Duration)> {
        Ok((self.attributes(&*self.table.node(inode)?)?, self.timeout))
    }

    fn setattr(
        &self,
        context: Context,
        inode: u64,
        wanted: SetattrIn,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(Attr, Duration)> {
        let file = self.table.node(inode)?;
        let open = handle.map(|handle| self.table.handle(inode, handle)).transpose()?;
        if valid.contains(SetattrValid::MODE) {
            let mode = Mode::from_bits_truncate(wanted.mode & 0o7777);
            chmodat(&self.descriptors, number(&file), mode, AtFlags::empty())?;
        }
        if valid.intersects(SetattrValid::UID | SetattrValid::GID) {
            self.change_owner(&file, &wanted, valid)?;
        }
        if valid.contains(SetattrValid::SIZE) {
            let writable = || self.reopen(&file, OFlags::RDWR | OFlags::NONBLOCK).map(Arc::new);
            ftruncate(open.map_or_else(writable, Ok)?, wanted.size)?;
        }
        if valid.intersects(SetattrValid::ATIME | SetattrValid::MTIME) {
            utimensat(&self.descriptors, number(&file), &times(&wanted, valid), AtFlags::empty())?;
        }
        self.getattr(context, inode, handle)
    }

    /// By /proc/self/fd of a program of the guest, or by the name that it has got.
    fn open(
        &self,
        _context: Context,
        inode: u64,
        _kill_privileges: bool,
        flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions)> {
        let flags = OFlags::from_bits_retain(flags).intersection(OPENING);
        let open = self.reopen(&*self.table.node(inode)?, flags)?;
        Ok((Some(self.table.open(inode, open)?), OpenOptions::empty()))
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        _context: Context,
        inode: u64,
        handle: u64,
        mut writer: W,
        size: u32,
        offset: u64,
        _lock_owner: Option<u64>,
        _flags: u32,
    ) -> io::Result<usize> {
        writer.read_from_file_at(&*self.table.handle(inode, handle)?, size as usize, offset, None)
    }

    fn write<R: ZeroCopyReader>(
        &self,
        _context: Context,
        inode: u64,
        handle: u64,
        mut reader: R,
        size: u32,
        offset: u64,
        _lock_owner: Option<u64>,
        delayed_write: bool,
        _kill_privileges: bool,
        flags: u32,
    ) -> io::Result<usize> {
        let appends = !delayed_write && OFlags::from_bits_retain(flags).contains(OFlags::APPEND);
        let flags = appends.then_some(WritevFlags::RWF_APPEND);
        reader.write_to_file_at(&*self.table.handle(inode, handle)?, size as usize, offset, flags)
    }

    fn flush(&self, _context: Context, inode: u64, handle: u64, _owner: u64) -> io::Result<()> {
        self.table.handle(inode, handle).map(drop)
    }

    fn release(
        &self,
        _context: Context,
        inode: u64,
        _flags: u32,
        handle: u64,
        _flush: bool,
        _flock_release: bool,
        _owner: Option<u64>,
    ) -> io::Result<()> {
        self.table.release(inode, handle)
    }

    fn fsync(&self, _context: Context, inode: u64, data_only: bool, handle: u64) -> io::Result<()> {
        let file = self.table.handle(inode, handle)?;
        if data_only { file.sync_data() } else { file.sync_all() }
    }

    fn fallocate(
        &self,
        _context: Context,
        inode: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        let file = self.table.handle(inode, handle)?;
        Ok(fallocate(file, FallocateFlags::from_bits_retain(mode), offset, length)?)
    }

    /// The guest's kernel asks for data and holes, and knows all else itself.
    fn lseek(&self, _context: Context, inode: u64, handle: u64, offset: u64, whence: u32) -> io::Result<u64> {
        let to = match i32::try_from(whence) {
            Ok(libc::SEEK_DATA) => SeekFrom::Data(offset),
            Ok(libc::SEEK_HOLE) => SeekFrom::Hole(offset),
            _ => return Err(invalid()),
        };
        Ok(seek(self.table.handle(inode, handle)?, to)?)
    }

    fn statfs(&self, _context: Context, inode: u64) -> io::Result<libc::statvfs64> {
        let file = self.table.node(inode)?;
        let mut status = MaybeUninit::zeroed();
        // SAFETY: the descriptor is open and the structure lives.
        match unsafe { libc::fstatvfs64(file.as_raw_fd(), status.as_mut_ptr()) } {
            // SAFETY: all-zero bytes are valid, and it has been filled.
            0 => Ok(unsafe { status.assume_init() }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn setxattr(
        &self,
        _context: Context,
        inode: u64,
        name: &CStr,
        value: &[u8],
        flags: u32,
        extra: SetxattrFlags,
    ) -> io::Result<()> {
        let file = self.readable(inode)?;
        // As chmod(2) does for who is not in the group.
        if extra.contains(SetxattrFlags::SETXATTR_ACL_KILL_SGID) && name == c"system.posix_acl_access" {
            let mode = Mode::from_bits_truncate(file.metadata()?.mode() & 0o7777);
            rustix::fs::fchmod(&file, mode.difference(Mode::SGID))?;
        }
        Ok(fsetxattr(file, name, value, XattrFlags::from_bits_retain(flags))?)
    }

    fn getxattr(&self, _context: Context, inode: u64, name: &CStr, size: u32) -> io::Result<GetxattrReply> {
        let mut value = vec![0; MAXIMUM_ATTRIBUTE.min(size as usize)];
        let length = fgetxattr(self.readable(inode)?, name, &mut value[..])?;
        if size == 0 {
            return Ok(GetxattrReply::Count(small(length)?));
        }
        value.truncate(length);
        Ok(GetxattrReply::Value(value))
    }

    fn listxattr(&self, _context: Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        let mut names = vec![0; MAXIMUM_ATTRIBUTE.min(size as usize)];
        let length = flistxattr(self.readable(inode)?, &mut names[..])?;
        if size == 0 {
            return Ok(ListxattrReply::Count(small(length)?));
        }
        names.truncate(length);
        Ok(ListxattrReply::Names(names))
    }

    fn removexattr(&self, _context: Context, inode: u64, name: &CStr) -> io::Result<()> {
        Ok(fremovexattr(self.readable(inode)?, name)?)
    }

    /// Only a kernel that leaves rights to the server asks.
    fn access(&self, context: Context, inode: u64, mask: u32) -> io::Result<()> {
        let status = self.table.node(inode)?.metadata()?;
        let (user, group) = (context.uid.into_inner(), context.gid.into_inner());
        let allowed = match user {
            0 if status.mode() & 0o111 == 0 => 0o6,
            0 => 0o7,
            user if user == status.uid() => status.mode() >> 6,
            _ if group == status.gid() => status.mode() >> 3,
            _ => status.mode(),
        };
        let wanted = mask & 0o7;
        if allowed & wanted == wanted { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EACCES)) }
    }

    fn destroy(&self) {
        self.table.clear();
    }
}
