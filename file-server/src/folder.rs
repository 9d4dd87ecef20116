//! The file system of what is shared, with locks that also hold on the host and among machines, and with what the guest
//! is told of changes.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions,
    SetattrValid, SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, LkIn, LkOut, SetattrIn};

use crate::borrowed::{bad_descriptor, nobody, with_file};
use crate::content::Content;
use crate::locks::Locks;
use crate::unnamed::{self, Creation, Files};
use crate::watches::Watches;
use crate::watches::waiting::Waiting;

type Inode = <Files as FileSystem>::Inode;
type Handle = <Files as FileSystem>::Handle;

/// Shared by the device, which takes requests for locks, and the server of all others.
#[derive(Clone)]
pub(crate) struct Folder(Arc<Inner>);

struct Inner {
    files: Arc<Files>,
    locks: Locks,
    content: Content,
    watches: Watches,
    waiting: Arc<Waiting>,
}

impl Folder {
    /// `descriptors` is the server's own `/proc/self/fd`.
    pub(crate) fn new(files: Files, descriptors: File) -> Self {
        let (files, waiting) = (Arc::new(files), Arc::<Waiting>::default());
        let looked_up = Arc::clone(&files);
        let exists = move |directory: u64, name: &[u8]| exists(&looked_up, directory, name);
        let watches = Watches::new(Arc::clone(&waiting), Arc::new(exists));
        Self(Arc::new(Inner {
            files,
            locks: Locks::new(descriptors),
            content: Content::default(),
            watches,
            waiting,
        }))
    }

    /// Not all that changes in what is shared is heard of.
    pub(crate) fn keep_no_names(&self) {
        self.0.watches.keep_nothing();
    }

    /// Where the guest waits for what happens to the files that it watches.
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.0.waiting
    }

    /// Watches a file for the guest, which has asked whether its programs may; `mask` is empty if it does no
    /// longer. Without a file the guest is about to end all of it.
    pub(crate) fn watch(&self, inode: Inode, mask: u32) -> io::Result<()> {
        let Inner { files, watches, waiting, .. } = &*self.0;
        if inode == 0 {
            watches.clear();
            waiting.stop();
            return Ok(());
        }
        // Neither devices nor pipes: virtiofsd does not open them.
        let handle =
            files.open(nobody(), inode, false, libc::O_RDONLY as u32)?.0.ok_or_else(bad_descriptor)?;
        let outcome = with_file(&**files, nobody(), inode, handle, |file| watches.set(file, inode, mask));
        files.release(nobody(), inode, 0, handle, false, false, None)?;
        outcome
    }

    /// Makes a file without a name, and opens it.
    pub(crate) fn create_unnamed(
        &self,
        context: Context,
        parent: Inode,
        creation: &Creation,
    ) -> io::Result<(Entry, Handle)> {
        self.0.files.create_unnamed(context, parent, creation)
    }

    /// Takes or gives back a lock, without waiting.
    pub(crate) fn set_lock(&self, context: Context, inode: Inode, request: &LkIn) -> io::Result<()> {
        let Inner { files, locks, .. } = &*self.0;
        with_file(&**files, context, inode, request.fh, |file| locks.set(file, inode, request))
    }

    /// Which lock is in the way.
    pub(crate) fn get_lock(&self, context: Context, inode: Inode, request: &LkIn) -> io::Result<LkOut> {
        let Inner { files, locks, .. } = &*self.0;
        with_file(&**files, context, inode, request.fh, |file| locks.get(file, inode, request))
    }
}

fn exists(files: &Files, directory: Inode, name: &[u8]) -> bool {
    let found =
        CString::new(name).map_err(io::Error::from).and_then(|name| files.lookup(nobody(), directory, &name));
    // A look-up is one reference more.
    found.map(|entry| files.forget(nobody(), entry.inode, 1)).is_ok()
}

thread_local! {
    static LISTING: Cell<bool> = const { Cell::new(false) };
}

/// Answers a READDIRPLUS: a name that cannot be looked up now, for want of descriptors or because it is gone
/// already, is listed without attributes. Else the listing would end there.
pub(crate) fn list<T>(work: impl FnOnce() -> T) -> T {
    LISTING.set(true);
    let outcome = work();
    LISTING.set(false);
    outcome
}

/// virtiofsd has made a name and finds no descriptor for it: the guest's kernel lets go of some and asks once more
/// (kernel/patches, 0018), for which the name must not be there.
fn or_undone(made: io::Result<Entry>, undo: impl FnOnce() -> io::Result<()>) -> io::Result<Entry> {
    made.inspect_err(|error| {
        if error.raw_os_error() == Some(libc::ENFILE) {
            // The guest is told that the name is there if it stays.
            let _ = undo();
        }
    })
}

/// linux/fuse.h: no node, so nothing is known but the name.
fn unknown() -> Entry {
    Entry {
        inode: 0,
        generation: 0,
        attr: Attr::default(),
        attr_timeout: Duration::ZERO,
        entry_timeout: Duration::ZERO,
    }
}

/// Methods that are virtiofsd's.
macro_rules! forward {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $output { self.0.files.$name($($argument),*) })*
    };
}

impl FileSystem for Folder {
    type Inode = Inode;
    type Handle = Handle;
    type DirIter = <Files as FileSystem>::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let wanted = self.0.files.init(capable)?;
        Ok(wanted | FsOptions::POSIX_LOCKS | FsOptions::FLOCK_LOCKS)
    }

    fn lookup(&self, context: Context, parent: Inode, name: &CStr) -> io::Result<Entry> {
        self.0.watches.asked(parent);
        match self.0.files.lookup(context, parent, name) {
            Err(_) if LISTING.get() => Ok(unknown()),
            outcome => outcome,
        }
    }

    fn destroy(&self) {
        self.0.locks.clear();
        self.0.content.clear();
        self.0.watches.clear();
        self.0.waiting.forget();
        self.0.files.destroy();
    }

    /// A process closed the file, by any of its descriptors, and so gives back its locks.
    fn flush(&self, context: Context, inode: Inode, handle: Handle, owner: u64) -> io::Result<()> {
        self.0.locks.forget(inode, owner);
        self.0.files.flush(context, inode, handle, owner)
    }

    fn open(
        &self,
        context: Context,
        inode: Inode,
        kill_privileges: bool,
        flags: u32,
    ) -> io::Result<(Option<Handle>, OpenOptions)> {
        let Inner { files, content, .. } = &*self.0;
        let (handle, mut options) = files.open(context, inode, kill_privileges, flags)?;
        if let Some(handle) = handle {
            let known =
                with_file(&**files, nobody(), inode, handle, |file| Ok(content.is_known(file, inode)));
            options.set(OpenOptions::KEEP_CACHE, known.unwrap_or(false));
        }
        Ok((handle, options))
    }

    fn getattr(
        &self,
        context: Context,
        inode: Inode,
        handle: Option<Handle>,
    ) -> io::Result<(Attr, Duration)> {
        self.0.watches.asked(inode);
        self.0.files.getattr(context, inode, handle)
    }

    fn setattr(
        &self,
        context: Context,
        inode: Inode,
        attributes: SetattrIn,
        handle: Option<Handle>,
        valid: SetattrValid,
    ) -> io::Result<(Attr, Duration)> {
        self.0.watches.asked(inode);
        self.0.files.setattr(context, inode, attributes, handle, valid)
    }

    fn symlink(
        &self,
        context: Context,
        target: &CStr,
        parent: Inode,
        name: &CStr,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let Inner { files, .. } = &*self.0;
        let made = files.symlink(context, target, parent, name, extensions);
        or_undone(made, || files.unlink(nobody(), parent, name))
    }

    fn mknod(
        &self,
        context: Context,
        parent: Inode,
        name: &CStr,
        mode: u32,
        device: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let Inner { files, .. } = &*self.0;
        let made = files.mknod(context, parent, name, mode, device, umask, extensions);
        or_undone(made, || files.unlink(nobody(), parent, name))
    }

    fn mkdir(
        &self,
        context: Context,
        parent: Inode,
        name: &CStr,
        mode: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let Inner { files, .. } = &*self.0;
        let made = files.mkdir(context, parent, name, mode, umask, extensions);
        or_undone(made, || files.rmdir(nobody(), parent, name))
    }

    fn link(&self, context: Context, inode: Inode, parent: Inode, name: &CStr) -> io::Result<Entry> {
        let Inner { files, .. } = &*self.0;
        let made = files.link(context, inode, parent, name);
        // Of its own files that fails before there is a name, or not at all.
        if unnamed::is_own(inode) {
            return made;
        }
        or_undone(made, || files.unlink(nobody(), parent, name))
    }

    /// The guest may keep the list, and names and attributes that are in it, if it hears of changes.
    fn opendir(
        &self,
        context: Context,
        inode: Inode,
        flags: u32,
    ) -> io::Result<(Option<Handle>, OpenOptions)> {
        let Inner { files, watches, .. } = &*self.0;
        watches.asked(inode);
        let (handle, mut options) = files.opendir(context, inode, flags)?;
        if let Some(handle) = handle {
            let kept = with_file(&**files, nobody(), inode, handle, |file| Ok(watches.keep(file, inode)));
            options.set(OpenOptions::KEEP_CACHE | OpenOptions::CACHE_DIR, kept.unwrap_or(false));
        }
        Ok((handle, options))
    }

    fn readdir(
        &self,
        context: Context,
        inode: Inode,
        handle: Handle,
        size: u32,
        offset: u64,
    ) -> io::Result<Self::DirIter> {
        self.0.watches.asked(inode);
        self.0.files.readdir(context, inode, handle, size, offset)
    }

    /// The last descriptor of an open file is closed, which owned locks itself if `owner` is told.
    fn release(
        &self,
        context: Context,
        inode: Inode,
        flags: u32,
        handle: Handle,
        flush: bool,
        flock_release: bool,
        owner: Option<u64>,
    ) -> io::Result<()> {
        if let Some(owner) = owner {
            self.0.locks.forget(inode, owner);
        }
        self.0.files.release(context, inode, flags, handle, flush, flock_release, owner)
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        context: Context,
        inode: Inode,
        handle: Handle,
        writer: W,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        flags: u32,
    ) -> io::Result<usize> {
        self.0.files.read(context, inode, handle, writer, size, offset, lock_owner, flags)
    }

    fn write<R: ZeroCopyReader>(
        &self,
        context: Context,
        inode: Inode,
        handle: Handle,
        reader: R,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        delayed_write: bool,
        kill_privileges: bool,
        flags: u32,
    ) -> io::Result<usize> {
        let files = &self.0.files;
        files.write(
            context,
            inode,
            handle,
            reader,
            size,
            offset,
            lock_owner,
            delayed_write,
            kill_privileges,
            flags,
        )
    }

    forward! {
        fn forget(context: Context, inode: Inode, count: u64) -> ();
        fn batch_forget(context: Context, requests: Vec<(Inode, u64)>) -> ();
        fn readlink(context: Context, inode: Inode) -> io::Result<Vec<u8>>;
        fn unlink(context: Context, parent: Inode, name: &CStr) -> io::Result<()>;
        fn rmdir(context: Context, parent: Inode, name: &CStr) -> io::Result<()>;
        fn rename(context: Context, old_parent: Inode, old_name: &CStr, new_parent: Inode, new_name: &CStr, flags: u32)
            -> io::Result<()>;
        fn create(context: Context, parent: Inode, name: &CStr, mode: u32, kill_privileges: bool, flags: u32, umask: u32, extensions: Extensions)
            -> io::Result<(Entry, Option<Handle>, OpenOptions)>;
        fn fsync(context: Context, inode: Inode, data_only: bool, handle: Handle) -> io::Result<()>;
        fn fallocate(context: Context, inode: Inode, handle: Handle, mode: u32, offset: u64, length: u64) -> io::Result<()>;
        fn statfs(context: Context, inode: Inode) -> io::Result<libc::statvfs64>;
        fn setxattr(context: Context, inode: Inode, name: &CStr, value: &[u8], flags: u32, extra: SetxattrFlags) -> io::Result<()>;
        fn getxattr(context: Context, inode: Inode, name: &CStr, size: u32) -> io::Result<GetxattrReply>;
        fn listxattr(context: Context, inode: Inode, size: u32) -> io::Result<ListxattrReply>;
        fn removexattr(context: Context, inode: Inode, name: &CStr) -> io::Result<()>;
        fn fsyncdir(context: Context, inode: Inode, data_only: bool, handle: Handle) -> io::Result<()>;
        fn releasedir(context: Context, inode: Inode, flags: u32, handle: Handle) -> io::Result<()>;
        fn access(context: Context, inode: Inode, mask: u32) -> io::Result<()>;
        fn lseek(context: Context, inode: Inode, handle: Handle, offset: u64, whence: u32) -> io::Result<u64>;
        fn copyfilerange(context: Context, from: Inode, from_handle: Handle, from_offset: u64, to: Inode, to_handle: Handle, to_offset: u64, length: u64, flags: u64)
            -> io::Result<usize>;
        fn syncfs(context: Context, inode: Inode) -> io::Result<()>;
    }
}
