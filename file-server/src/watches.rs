//! What others do to files that the guest watches with inotify(7) or fanotify(7).
//!
//! ```text
//!  guest: a first watch of a file ─ FUSE_HOST_WATCH ─▶ [`Watches::set`] ─▶ a mark of fanotify(7)
//!  guest: one request that waits ── FUSE_HOST_EVENTS ─▶ [`waiting`]  ◀─ records ─ thread "watches"
//! ```
//!
//! fanotify says of each event whether this process caused it, which is to say the guest itself, whose
//! kernel has told its own watchers already. An unprivileged group learns no other process id, and needs none.
//! The other end is kernel/patches, 0019.

mod changes;
mod group;
mod identity;
mod kept;
mod table;
pub(crate) mod waiting;

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use changes::Change;
use group::Group;
use identity::Identity;
use kept::Kept;
use table::{Record, Table, Watch};
use waiting::Waiting;

/// Of the guest's kernel, whose numbers fanotify and inotify share.
pub(crate) mod mask {
    pub(crate) const MODIFY: u32 = 0x2;
    pub(crate) const ATTRIBUTES: u32 = 0x4;
    pub(crate) const CLOSE_WRITE: u32 = 0x8;
    pub(crate) const MOVED_FROM: u32 = 0x40;
    pub(crate) const MOVED_TO: u32 = 0x80;
    pub(crate) const CREATE: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x200;
    pub(crate) const DELETE_SELF: u32 = 0x400;
    pub(crate) const MOVE_SELF: u32 = 0x800;
    pub(crate) const OVERFLOW: u32 = 0x4000;
    pub(crate) const ON_CHILD: u32 = 0x0800_0000;
    pub(crate) const IS_DIRECTORY: u32 = 0x4000_0000;
    /// Not of Linux: something in a kept directory has changed.
    pub(crate) const FORGET: u32 = 0x8000_0000;
    /// What makes that known.
    pub(crate) const KEPT: u32 = CONTENT | OWN | CREATE | DELETE | MOVED_FROM | MOVED_TO | ON_CHILD;
    pub(crate) const CONTENT: u32 = MODIFY | ATTRIBUTES | CLOSE_WRITE;
    pub(crate) const OWN: u32 = DELETE_SELF | MOVE_SELF;
}

/// Each keeps a file of the host in memory, as each file does that the guest has looked up.
const MAXIMUM_WATCHES: usize = 32 * 1024;

/// Whether a name is in a directory now; both are the guest's.
type Exists = dyn Fn(u64, &[u8]) -> bool + Send + Sync;

/// All of one guest.
pub(crate) struct Watches {
    waiting: Arc<Waiting>,
    table: Arc<Mutex<Table>>,
    kept: Arc<Kept>,
    exists: Arc<Exists>,
    /// Made for the first watch: an instance is one of a few that a user has.
    group: OnceLock<Arc<Group>>,
    maximum: usize,
}

impl Watches {
    pub(crate) fn new(waiting: Arc<Waiting>, exists: Arc<Exists>) -> Self {
        Self {
            waiting,
            table: Arc::default(),
            kept: Arc::default(),
            exists,
            group: OnceLock::new(),
            maximum: MAXIMUM_WATCHES,
        }
    }

    /// Watches a file, or no longer if `mask` is empty.
    pub(crate) fn set(&self, file: &File, inode: u64, mask: u32) -> io::Result<()> {
        if mask == 0 && self.group.get().is_none() {
            return Ok(());
        }
        let is_directory = file.metadata()?.is_dir();
        let identity = Identity::of(file)?;
        let group = self.group()?;
        let mut table = lock(&self.table);
        if mask == 0 {
            return if table.remove(&identity) { Ok(()) } else { group.unmark(file) };
        }
        let watched = table.len().saturating_sub(self.kept.len());
        if !table.is_watched(&identity) && watched >= self.maximum {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        // Before the first event of it comes.
        let before = table.insert(identity.clone(), inode, mask);
        group.mark(file, is_directory, mask).inspect_err(|_| table.restore(&identity, before))
    }

    /// Keeps an eye on a directory, so that the guest may rely on what it knows of it; whether it may.
    pub(crate) fn keep(&self, directory: &File, inode: u64) -> bool {
        if self.kept.contains(inode) {
            return true;
        }
        if !kept::is_local(directory) || !self.kept.insert(inode) {
            return false;
        }
        let marked = self.mark_kept(directory, inode);
        if marked.is_err() {
            self.kept.remove(inode);
        }
        if self.group.get().is_none() {
            // The host has no more of them, or none at all: to ask it each time costs more than it brings.
            self.kept.close();
        }
        marked.is_ok()
    }

    /// Keeps nothing: not all changes of what is shared are heard of.
    pub(crate) fn keep_nothing(&self) {
        self.kept.close();
    }

    fn mark_kept(&self, directory: &File, inode: u64) -> io::Result<()> {
        let (group, identity) = (self.group()?, Identity::of(directory)?);
        let mut table = lock(&self.table);
        let before = table.keep(identity.clone(), inode);
        // The guest has forgotten it and looked it up again.
        if let Some(former) = before.and_then(Watch::kept).filter(|former| *former != inode) {
            self.kept.remove(former);
        }
        group.mark(directory, true, mask::KEPT).inspect_err(|_| table.restore(&identity, before))
    }

    /// The guest asks for something in a directory, or for its attributes: it knows no more of what was there before. To be called
    /// before the host is asked.
    pub(crate) fn asked(&self, directory: u64) {
        self.kept.asked(directory);
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.kept.clear();
        if let Some(group) = self.group.get() {
            lock(&self.table).clear();
            // Without it events come that nobody waits for.
            let _ = group.flush();
        }
    }

    fn group(&self) -> io::Result<Arc<Group>> {
        if let Some(group) = self.group.get() {
            return Ok(Arc::clone(group));
        }
        let group = Arc::new(Group::new()?);
        let reader = Reader {
            group: Arc::clone(&group),
            table: Arc::clone(&self.table),
            kept: Arc::clone(&self.kept),
            waiting: Arc::clone(&self.waiting),
            exists: Arc::clone(&self.exists),
            cookie: 0,
        };
        std::thread::Builder::new().name("watches".to_owned()).spawn(|| reader.read())?;
        Ok(Arc::clone(self.group.get_or_init(|| group)))
    }
}

/// The thread that turns events of the host into records for the guest.
struct Reader {
    group: Arc<Group>,
    table: Arc<Mutex<Table>>,
    kept: Arc<Kept>,
    waiting: Arc<Waiting>,
    exists: Arc<Exists>,
    cookie: u32,
}

impl Reader {
    fn read(mut self) {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut buffer = group::buffer();
        loop {
            let bytes = match self.group.read(&mut buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing is told any more, which the guest's programs are to know.
                Err(_) => {
                    self.kept.close();
                    return self.waiting.lose();
                }
            };
            let (mut records, mut lost) = (Vec::new(), false);
            for change in changes::parse(bytes, own) {
                lost |= matches!(change, Change::Lost);
                records.extend(self.records(&change));
            }
            for record in table::in_order(records, &*self.exists) {
                self.waiting.add(&record);
            }
            if lost {
                self.waiting.lose();
            }
        }
    }

    fn records(&mut self, change: &Change<'_>) -> Vec<table::Record> {
        if matches!(change, Change::Renamed { .. }) {
            self.cookie = self.cookie.checked_add(1).unwrap_or(1);
        }
        let (kept, records, gone) = {
            let mut table = lock(&self.table);
            let (kept, records) = (table.kept(change), table.records(change, self.cookie));
            (kept, records, table.let_go(change))
        };
        // First: who is told of something looks at it.
        for directory in kept.into_iter().filter(|directory| self.kept.is_news(*directory)) {
            let mask = mask::FORGET;
            self.waiting.add(&Record { directory, node: 0, mask, cookie: 0, name: Vec::new() });
        }
        if let Some(gone) = gone {
            self.kept.remove(gone);
        }
        records
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Asked(Sender<Vec<u8>>);

    impl waiting::Request for Asked {
        fn room(&self) -> usize {
            4096
        }

        fn answer(self: Box<Self>, outcome: io::Result<&[u8]>) {
            self.0.send(outcome.unwrap().to_vec()).unwrap();
        }
    }

    fn watches(maximum: usize) -> (Watches, Arc<Waiting>) {
        let waiting = Arc::<Waiting>::default();
        let watches = Watches::new(Arc::clone(&waiting), Arc::new(|_, _: &[u8]| false));
        (Watches { maximum, ..watches }, waiting)
    }

    /// Next to the tests, on a disk as they are.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::current_exe().unwrap().with_extension(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn touch(path: &Path) {
        assert!(Command::new("touch").arg(path).status().unwrap().success());
    }

    #[test]
    fn what_others_do_is_told_and_what_this_process_does_is_not() {
        let (watches, waiting) = watches(1);
        let folder = folder("others");
        watches.set(&File::open(&folder).unwrap(), 7, mask::CREATE | mask::DELETE | mask::ON_CHILD).unwrap();
        fs::write(folder.join("own"), "x").unwrap();
        fs::remove_file(folder.join("own")).unwrap();
        touch(&folder.join("other"));
        let (answers, answered) = channel();
        waiting.ask(Box::new(Asked(answers)));
        let answer = answered.recv_timeout(Duration::from_secs(20)).unwrap();
        let expected =
            table::Record { directory: 7, node: 0, mask: mask::CREATE, cookie: 0, name: b"other".to_vec() };
        assert_eq!(answer, expected.bytes());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_change_in_a_kept_directory_is_told_once_until_the_guest_asks() {
        let (watches, waiting) = watches(1);
        let folder = folder("kept");
        let directory = File::open(&folder).unwrap();
        assert!(watches.keep(&directory, 7) && watches.keep(&directory, 7));
        let forget = table::Record { directory: 7, node: 0, mask: mask::FORGET, cookie: 0, name: Vec::new() };
        for name in ["first", "second"] {
            watches.asked(7);
            fs::write(folder.join("own"), "x").unwrap();
            let (answers, answered) = channel();
            waiting.ask(Box::new(Asked(answers)));
            for path in [name, "more", "and more"] {
                touch(&folder.join(path));
            }
            let answer = answered.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(answer, forget.bytes());
        }
        // Whoever watches it, too, ceases to, and it goes on being kept.
        watches.set(&directory, 7, mask::CREATE).unwrap();
        watches.set(&directory, 7, 0).unwrap();
        watches.asked(7);
        touch(&folder.join("third"));
        let (answers, answered) = channel();
        waiting.ask(Box::new(Asked(answers)));
        assert_eq!(answered.recv_timeout(Duration::from_secs(20)).unwrap(), forget.bytes());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn f83_a_guest_has_so_many_watches_and_no_more() {
        let (watches, waiting) = watches(2);
        let folder = folder("many");
        let file = |name: &str| {
            fs::write(folder.join(name), "x").unwrap();
            File::open(folder.join(name)).unwrap()
        };
        let (first, second, third) = (file("first"), file("second"), file("third"));
        watches.set(&first, 1, mask::MODIFY).unwrap();
        watches.set(&second, 2, mask::MODIFY).unwrap();
        let refused = watches.set(&third, 3, mask::MODIFY).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
        watches.set(&second, 2, mask::MODIFY | mask::ATTRIBUTES).unwrap();
        watches.set(&first, 1, 0).unwrap();
        watches.set(&third, 3, mask::ATTRIBUTES).unwrap();
        // Of the first nothing is told any more.
        touch(&folder.join("first"));
        touch(&folder.join("third"));
        let (answers, answered) = channel();
        waiting.ask(Box::new(Asked(answers)));
        let answer = answered.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(answer[8..16], 3_u64.to_ne_bytes());
        fs::remove_dir_all(folder).unwrap();
    }
}
