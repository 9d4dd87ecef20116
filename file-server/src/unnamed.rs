//! The file system of virtiofsd with files that have no name, open(2) with `O_TMPFILE`.
//!
//! virtiofsd knows files by names, and one that has had a name and lost it never gets another, linkat(2). So these are
//! files of our own, with numbers that virtiofsd does not have:
//!
//! ```text
//!  guest: FUSE_TMPFILE ──────────▶ a file of the host's directory that its O_TMPFILE makes
//!  guest: FUSE_LINK, of it ──────▶ linkat(2) of /proc/self/fd/N; the number stays
//!  guest: a look-up of the name ─▶ virtiofsd finds the file, and the guest is told the number that it has already
//!  guest: FUSE_FORGET ───────────▶ the file is one of virtiofsd's as all others
//! ```

mod request;
mod system;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions,
    SetattrValid, SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};
use virtiofsd::oslib::ScopedUmask;
use virtiofsd::passthrough::PassthroughFs;
use virtiofsd::passthrough::credentials::{UnixCredentials, UnixCredentialsGuard};
use virtiofsd::soft_idmap::Id as _;

use crate::borrowed::{bad_descriptor, nobody, with_file};
use crate::namespace::Owners;
pub(crate) use request::{Creation, MAXIMUM_BYTES};
use system::Unnamed;
pub(crate) use table::is_own;
use table::{Found, Place, Table};

type Inode = u64;
type Handle = u64;

/// All files of what is shared.
pub(crate) struct Files {
    named: PassthroughFs,
    unnamed: Unnamed,
    owners: Owners,
    /// The guest says which groups count.
    tells_groups: AtomicBool,
}

impl Files {
    /// `descriptors` is the server's own `/proc/self/fd`; files without a name have at most `maximum` descriptors, and
    /// what is told of them is good for as long as what virtiofsd tells.
    pub(crate) fn new(
        named: PassthroughFs,
        descriptors: File,
        owners: Owners,
        timeout: Duration,
        maximum: usize,
    ) -> Self {
        let one_user = owners == Owners::OnlyUser;
        let unnamed = Unnamed::new(Table::new(maximum), descriptors, one_user, timeout);
        Self { named, unnamed, owners, tells_groups: AtomicBool::new(false) }
    }

    /// Makes a file without a name, and opens it.
    pub(crate) fn create_unnamed(
        &self,
        context: Context,
        parent: Inode,
        creation: &Creation,
    ) -> io::Result<(Entry, Handle)> {
        let make = |directory: &File| {
            let _user = self.become_user(context, &creation.groups)?;
            // Without effect where the directory has a default list, acl(5).
            let _umask = ScopedUmask::new(creation.umask);
            Unnamed::make(directory, creation.flags, creation.mode)
        };
        let has_groups = !creation.groups.is_empty();
        let open = self.in_directory(parent, |directory| self.with_groups(has_groups, || make(directory)))?;
        self.unnamed.keep(open)
    }

    /// Who asks is who owns it, and has to have the right to make it.
    fn become_user(&self, context: Context, groups: &[u32]) -> io::Result<Option<UnixCredentialsGuard>> {
        if self.owners == Owners::OnlyUser {
            return Ok(None);
        }
        let (user, group) = (context.uid.into_inner(), context.gid.into_inner());
        // Root needs none.
        let groups = if user == 0 { &[] } else { groups };
        UnixCredentials::new(user.into(), group.into())
            .supplementary_gid(
                self.tells_groups.load(Ordering::Relaxed),
                groups.iter().map(|group| (*group).into()).collect(),
            )
            .set()
    }

    /// A user namespace of one user has no supplementary groups, user_namespaces(7), and needs none. virtiofsd tells the
    /// guest that it wants them whatever it is told.
    fn possible(&self, extensions: Extensions) -> Extensions {
        let sup_gids = if self.owners == Owners::OnlyUser { Vec::new() } else { extensions.sup_gids };
        Extensions { sup_gids, ..extensions }
    }

    /// Makes something for who is in other groups than the first. virtiofsd takes these for the thread, and leaves it
    /// none afterwards. The user of the host would lose those of his own, by which he may have the right to files, and
    /// has no right to take them back: a thread of its own takes that along.
    fn with_groups<T: Send>(
        &self,
        has_groups: bool,
        make: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        if !has_groups || self.owners != Owners::Subordinate {
            return make();
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, make)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::EIO)))
        })
    }

    fn in_directory<T>(&self, inode: Inode, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let (handle, _) = self.named.opendir(nobody(), inode, libc::O_RDONLY as u32)?;
        let handle = handle.ok_or_else(bad_descriptor)?;
        let outcome = with_file(&self.named, nobody(), inode, handle, work);
        // It was opened just now.
        let _ = self.named.releasedir(nobody(), inode, 0, handle);
        outcome
    }

    /// What virtiofsd has found by a name, with the number by which the guest knows it.
    fn as_known(&self, entry: Entry) -> io::Result<Entry> {
        if entry.attr.mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(entry);
        }
        let named = entry.inode;
        // Each look-up is remembered by virtiofsd; for one of our files once is enough.
        let forget = || self.named.forget(nobody(), named, 1);
        let own = match self.unnamed.table.find(entry.attr.ino, named) {
            Found::Another => return Ok(entry),
            Found::Own(own) => (own, false),
            Found::Unclear => {
                let place = self.place(named).inspect_err(|_| forget())?;
                match self.unnamed.table.name(place, named) {
                    Some(own) => own,
                    None => return Ok(entry),
                }
            }
        };
        let (inode, is_new) = own;
        if !is_new {
            forget();
        }
        Ok(Entry { inode, ..entry })
    }

    fn place(&self, named: Inode) -> io::Result<Place> {
        let (handle, _) = self.named.open(nobody(), named, false, libc::O_RDONLY as u32)?;
        let handle = handle.ok_or_else(bad_descriptor)?;
        let place = with_file(&self.named, nobody(), named, handle, Place::of);
        // It was opened just now.
        let _ = self.named.release(nobody(), named, 0, handle, false, false, None);
        place
    }

    fn forget_unnamed(&self, inode: Inode, count: u64) {
        if let Some(named) = self.unnamed.table.forget(inode, count) {
            self.named.forget(nobody(), named, 1);
        }
    }
}

/// Methods that are virtiofsd's, and ours for our files.
macro_rules! either {
    ($(fn $name:ident$(<$kind:ident: $bound:ident>)?($context:ident: Context, $inode:ident: Inode $(, $argument:ident: $type:ty)*) -> $output:ty;)*) => {
        $(fn $name$(<$kind: $bound>)?(&self, $context: Context, $inode: Inode $(, $argument: $type)*) -> $output {
            if is_own($inode) {
                self.unnamed.$name($context, $inode $(, $argument)*)
            } else {
                self.named.$name($context, $inode $(, $argument)*)
            }
        })*
    };
}

/// Methods that are virtiofsd's, which knows none of our files.
macro_rules! named {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $output { self.named.$name($($argument),*) })*
    };
}

/// Methods that make what is virtiofsd's, for whom it can.
macro_rules! made {
    ($(fn $name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name(&self, $($argument: $type,)* extensions: Extensions) -> io::Result<Entry> {
            let extensions = self.possible(extensions);
            self.with_groups(!extensions.sup_gids.is_empty(), || self.named.$name($($argument,)* extensions))
        })*
    };
}

impl FileSystem for Files {
    type Inode = Inode;
    type Handle = Handle;
    type DirIter = <PassthroughFs as FileSystem>::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        self.unnamed.destroy();
        self.tells_groups.store(capable.contains(FsOptions::CREATE_SUPP_GROUP), Ordering::Relaxed);
        self.named.init(capable)
    }

    fn destroy(&self) {
        self.unnamed.destroy();
        self.named.destroy();
    }

    fn lookup(&self, context: Context, parent: Inode, name: &CStr) -> io::Result<Entry> {
        self.as_known(self.named.lookup(context, parent, name)?)
    }

    fn forget(&self, context: Context, inode: Inode, count: u64) {
        if is_own(inode) {
            self.forget_unnamed(inode, count);
        } else {
            self.named.forget(context, inode, count);
        }
    }

    fn batch_forget(&self, context: Context, requests: Vec<(Inode, u64)>) {
        let (own, named): (Vec<_>, Vec<_>) = requests.into_iter().partition(|(inode, _)| is_own(*inode));
        for (inode, count) in own {
            self.forget_unnamed(inode, count);
        }
        self.named.batch_forget(context, named);
    }

    fn link(&self, context: Context, inode: Inode, parent: Inode, name: &CStr) -> io::Result<Entry> {
        if is_own(inode) {
            return self.in_directory(parent, |directory| self.unnamed.link_at(inode, directory, name));
        }
        self.named.link(context, inode, parent, name)
    }

    /// The name may have been given to one of our files in just this moment.
    fn create(
        &self,
        context: Context,
        parent: Inode,
        name: &CStr,
        mode: u32,
        kill_privileges: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<Handle>, OpenOptions)> {
        let extensions = self.possible(extensions);
        let (entry, handle, options) = self.with_groups(!extensions.sup_gids.is_empty(), || {
            self.named.create(context, parent, name, mode, kill_privileges, flags, umask, extensions)
        })?;
        let named = entry.inode;
        let known = match self.as_known(entry) {
            Ok(entry) if !is_own(entry.inode) => return Ok((entry, handle, options)),
            known => known,
        };
        if let Some(handle) = handle {
            self.named.release(nobody(), named, 0, handle, false, false, None)?;
        }
        let entry = known?;
        let opened = self.unnamed.open(context, entry.inode, kill_privileges, flags);
        let (handle, options) = opened.inspect_err(|_| self.forget_unnamed(entry.inode, 1))?;
        Ok((entry, handle, options))
    }

    fn copyfilerange(
        &self,
        context: Context,
        from: Inode,
        from_handle: Handle,
        from_offset: u64,
        to: Inode,
        to_handle: Handle,
        to_offset: u64,
        length: u64,
        flags: u64,
    ) -> io::Result<usize> {
        if !is_own(from) && !is_own(to) {
            return self.named.copyfilerange(
                context,
                from,
                from_handle,
                from_offset,
                to,
                to_handle,
                to_offset,
                length,
                flags,
            );
        }
        // There are none, copy_file_range(2).
        if flags != 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (mut from_offset, mut to_offset) = (from_offset, to_offset);
        with_file(self, context, from, from_handle, |source| {
            with_file(self, context, to, to_handle, |target| {
                let (from, to) = (Some(&mut from_offset), Some(&mut to_offset));
                Ok(rustix::fs::copy_file_range(source, from, target, to, length)?)
            })
        })
    }

    either! {
        fn getattr(context: Context, inode: Inode, handle: Option<Handle>) -> io::Result<(Attr, Duration)>;
        fn setattr(context: Context, inode: Inode, attributes: SetattrIn, handle: Option<Handle>, valid: SetattrValid)
            -> io::Result<(Attr, Duration)>;
        fn open(context: Context, inode: Inode, kill_privileges: bool, flags: u32)
            -> io::Result<(Option<Handle>, OpenOptions)>;
        fn read<W: ZeroCopyWriter>(context: Context, inode: Inode, handle: Handle, writer: W, size: u32, offset: u64, lock_owner: Option<u64>, flags: u32)
            -> io::Result<usize>;
        fn write<R: ZeroCopyReader>(context: Context, inode: Inode, handle: Handle, reader: R, size: u32, offset: u64, lock_owner: Option<u64>, delayed_write: bool, kill_privileges: bool, flags: u32)
            -> io::Result<usize>;
        fn flush(context: Context, inode: Inode, handle: Handle, owner: u64) -> io::Result<()>;
        fn release(context: Context, inode: Inode, flags: u32, handle: Handle, flush: bool, flock_release: bool, owner: Option<u64>)
            -> io::Result<()>;
        fn fsync(context: Context, inode: Inode, data_only: bool, handle: Handle) -> io::Result<()>;
        fn fallocate(context: Context, inode: Inode, handle: Handle, mode: u32, offset: u64, length: u64) -> io::Result<()>;
        fn lseek(context: Context, inode: Inode, handle: Handle, offset: u64, whence: u32) -> io::Result<u64>;
        fn statfs(context: Context, inode: Inode) -> io::Result<libc::statvfs64>;
        fn setxattr(context: Context, inode: Inode, name: &CStr, value: &[u8], flags: u32, extra: SetxattrFlags) -> io::Result<()>;
        fn getxattr(context: Context, inode: Inode, name: &CStr, size: u32) -> io::Result<GetxattrReply>;
        fn listxattr(context: Context, inode: Inode, size: u32) -> io::Result<ListxattrReply>;
        fn removexattr(context: Context, inode: Inode, name: &CStr) -> io::Result<()>;
        fn access(context: Context, inode: Inode, mask: u32) -> io::Result<()>;
    }

    named! {
        fn readlink(context: Context, inode: Inode) -> io::Result<Vec<u8>>;
        fn unlink(context: Context, parent: Inode, name: &CStr) -> io::Result<()>;
        fn rmdir(context: Context, parent: Inode, name: &CStr) -> io::Result<()>;
        fn rename(context: Context, old_parent: Inode, old_name: &CStr, new_parent: Inode, new_name: &CStr, flags: u32)
            -> io::Result<()>;
        fn opendir(context: Context, inode: Inode, flags: u32) -> io::Result<(Option<Handle>, OpenOptions)>;
        fn readdir(context: Context, inode: Inode, handle: Handle, size: u32, offset: u64) -> io::Result<Self::DirIter>;
        fn fsyncdir(context: Context, inode: Inode, data_only: bool, handle: Handle) -> io::Result<()>;
        fn releasedir(context: Context, inode: Inode, flags: u32, handle: Handle) -> io::Result<()>;
        fn syncfs(context: Context, inode: Inode) -> io::Result<()>;
    }
    made! {
        fn symlink(context: Context, target: &CStr, parent: Inode, name: &CStr);
        fn mknod(context: Context, parent: Inode, name: &CStr, mode: u32, device: u32, umask: u32);
        fn mkdir(context: Context, parent: Inode, name: &CStr, mode: u32, umask: u32);
    }
}
