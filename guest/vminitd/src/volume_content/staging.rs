//! How a volume is filled so that it is empty or full, whatever dies on the way.
//!
//! ```text
//!  .bulkhead-filling/            only while a volume is being filled
//!      lock                      whoever fills the volume has it locked; the host frees it with the machine
//!      partial/                  what is copied; of no use to whoever finds it
//!          content/  top/        the directory's entries, and an empty directory with its owner and mode
//!      complete/                 is what partial is called once all of it is on the disk
//! ```
//!
//! From `complete` the entries move to where they belong, one rename(2) each. Whoever finds it goes on with
//! that; whoever finds `partial` begins again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_archive::tree::{Target, TreeError, copy, copy_attributes, remove};
use rustix::event::{Timespec, poll};
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags, flock, fstat, mkdirat, openat,
    renameat, renameat_with, statx, syncfs, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

const STAGING: &str = ".bulkhead-filling";
const LOCK: &str = "lock";
const PARTIAL: &str = "partial";
const COMPLETE: &str = "complete";
const CONTENT: &str = "content";
const TOP: &str = "top";
/// Of those who wait for another one's lock.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Ten minutes.
const MAXIMUM_PAUSES: usize = 30_000;
/// The root of a new volume: root's, of this mode.
const NEW_MODE: u32 = 0o755;

/// Why a volume was not filled.
#[derive(Debug, Error)]
pub(super) enum StagingError {
    /// The copy failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The volume cannot be used.
    #[error("cannot use the volume")]
    Volume(#[from] Errno),
    /// Somebody else fills it without end.
    #[error("another container has it locked")]
    Busy,
}

/// Fills an empty volume with what `source` holds; tells whether it holds something now. A directory that holds
/// nothing gives its owner and mode to a volume that nobody has touched.
pub(super) fn fill(
    source: Option<BorrowedFd<'_>>,
    volume: BorrowedFd<'_>,
    kind: Target,
) -> Result<bool, StagingError> {
    let root = openat(volume, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut pauses = 0;
    loop {
        let found = survey(&root)?;
        if !found.staging {
            if found.content {
                return Ok(true);
            }
            let Some(source) = source else { return Ok(false) };
            if !holds_something(source)? {
                if is_new(&root)? {
                    copy_attributes(source, root.as_fd(), kind)?;
                    syncfs(&root)?;
                }
                return Ok(false);
            }
        }
        if let Some(staging) = Staging::enter(&root)? {
            return staging.fill(source, kind);
        }
        pauses += 1;
        if pauses > MAXIMUM_PAUSES {
            return Err(StagingError::Busy);
        }
        // Interrupted or not, the next look tells.
        let _ = poll(&mut [], Some(&PAUSE));
    }
}

/// The directory for the work, locked.
struct Staging<'a> {
    root: &'a OwnedFd,
    directory: OwnedFd,
    _lock: OwnedFd,
}

impl<'a> Staging<'a> {
    /// `None` while somebody else has it, or is about to be done with it.
    fn enter(root: &'a OwnedFd) -> Result<Option<Self>, Errno> {
        match mkdirat(root, STAGING, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(root, STAGING, flags, Mode::empty()).and_then(|directory| {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let lock = openat(&directory, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok((directory, lock))
        });
        let (directory, lock) = match opened {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::STALE | Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Whoever had it before has removed it when he was done. The server is asked, not what is remembered.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        let is_left = match statx(&lock, c"", flags, StatxFlags::NLINK) {
            Ok(status) => status.stx_nlink == 0,
            Err(Errno::NOENT | Errno::STALE) => true,
            Err(error) => return Err(error),
        };
        Ok((!is_left).then_some(Self { root, directory, _lock: lock }))
    }

    fn fill(self, source: Option<BorrowedFd<'_>>, kind: Target) -> Result<bool, StagingError> {
        let filled = self.try_fill(source, kind);
        let left = self.leave();
        let filled = filled?;
        left?;
        Ok(filled)
    }

    fn try_fill(&self, source: Option<BorrowedFd<'_>>, kind: Target) -> Result<bool, StagingError> {
        if self.move_complete(kind)? {
            return Ok(true);
        }
        remove(self.directory.as_fd(), PARTIAL.as_bytes())?;
        if survey(self.root)?.content {
            return Ok(true);
        }
        let Some(source) = source else { return Ok(false) };
        mkdirat(&self.directory, PARTIAL, Mode::RWXU)?;
        let partial = open_directory(self.directory.as_fd(), PARTIAL)?;
        for name in [CONTENT, TOP] {
            mkdirat(&partial, name, Mode::RWXU)?;
        }
        let copy = || -> Result<(), StagingError> {
            copy(source, open_directory(partial.as_fd(), CONTENT)?.as_fd(), kind)?;
            copy_attributes(source, open_directory(partial.as_fd(), TOP)?.as_fd(), kind)?;
            Ok(syncfs(self.root)?)
        };
        if let Err(error) = copy() {
            remove(self.directory.as_fd(), PARTIAL.as_bytes())?;
            return Err(error);
        }
        renameat(&self.directory, PARTIAL, &self.directory, COMPLETE)?;
        self.move_complete(kind)
    }

    /// Moves what is complete to where it belongs; tells whether there was such a thing.
    fn move_complete(&self, kind: Target) -> Result<bool, StagingError> {
        let complete = match open_directory(self.directory.as_fd(), COMPLETE) {
            Err(Errno::NOENT) => return Ok(false),
            result => result?,
        };
        match open_directory(complete.as_fd(), CONTENT) {
            Ok(content) => {
                for name in names(&content)? {
                    match renameat_with(
                        &content,
                        name.as_slice(),
                        self.root,
                        name.as_slice(),
                        RenameFlags::NOREPLACE,
                    ) {
                        // Somebody who wanted the volume without the image's content was faster, and keeps his.
                        Ok(()) | Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match open_directory(complete.as_fd(), TOP) {
            Ok(top) => copy_attributes(top.as_fd(), self.root.as_fd(), kind)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        // The top goes last: its attributes are there until all else is done.
        remove(complete.as_fd(), CONTENT.as_bytes())?;
        remove(self.directory.as_fd(), COMPLETE.as_bytes())?;
        Ok(true)
    }

    fn leave(self) -> Result<(), Errno> {
        unlinkat(&self.directory, LOCK, AtFlags::empty())?;
        match unlinkat(self.root, STAGING, AtFlags::REMOVEDIR) {
            // The next one has come in already, and leaves it as well.
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        // What the host is told next counts for good.
        syncfs(self.root)
    }
}

/// What is in the root of a volume.
struct Found {
    staging: bool,
    content: bool,
}

fn survey(root: &OwnedFd) -> Result<Found, Errno> {
    let mut found = Found { staging: false, content: false };
    for entry in Dir::read_from(root)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            // What e2fsck makes where it misses it is no content.
            b"." | b".." | b"lost+found" => {}
            name if name == STAGING.as_bytes() => found.staging = true,
            _ => found.content = true,
        }
        if found.staging && found.content {
            break;
        }
    }
    Ok(found)
}

fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn holds_something(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it still has the owner and mode that every volume begins with.
fn is_new(root: &OwnedFd) -> Result<bool, Errno> {
    let status = fstat(root)?;
    Ok((status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, NEW_MODE))
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};

    use super::*;

    /// A directory with an image's directory and a volume in it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vminitd-staging-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("image/deep")).unwrap();
            fs::create_dir(path.join("volume")).unwrap();
            fs::write(path.join("image/deep/file"), "content").unwrap();
            fs::write(path.join("image/other"), "more").unwrap();
            fs::set_permissions(path.join("image"), Permissions::from_mode(0o1750)).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn open(&self, name: &str) -> OwnedFd {
            File::open(self.path(name)).unwrap().into()
        }

        fn fill(&self) -> bool {
            let (image, volume) = (self.open("image"), self.open("volume"));
            fill(Some(image.as_fd()), volume.as_fd(), Target::Plain).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.path("volume")).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn mode(&self) -> u32 {
            self.path("volume").metadata().unwrap().mode() & 0o7777
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // What is left is in the way of nobody.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_empty_volume_is_filled_once() {
        let place = Place::new("once");
        assert!(place.fill());
        assert_eq!(place.names(), ["deep", "other"]);
        assert_eq!(read(&place.path("volume/deep/file")), "content");
        assert_eq!(place.mode(), 0o1750);
        fs::remove_file(place.path("volume/other")).unwrap();
        fs::set_permissions(place.path("volume"), Permissions::from_mode(0o700)).unwrap();
        assert!(place.fill());
        assert_eq!((place.names(), place.mode()), (vec!["deep".to_owned()], 0o700));
    }

    #[test]
    fn whoever_finds_half_a_copy_begins_again() {
        let place = Place::new("partial");
        fs::create_dir_all(place.path("volume/.bulkhead-filling/partial/content/half")).unwrap();
        fs::write(place.path("volume/.bulkhead-filling/lock"), "").unwrap();
        assert!(place.fill());
        assert_eq!((place.names(), place.mode()), (vec!["deep".to_owned(), "other".to_owned()], 0o1750));
    }

    #[test]
    fn whoever_finds_a_whole_copy_goes_on_with_it() {
        let place = Place::new("complete");
        let complete = place.path("volume/.bulkhead-filling/complete");
        fs::create_dir_all(complete.join("content/deep")).unwrap();
        fs::create_dir(complete.join("top")).unwrap();
        fs::set_permissions(complete.join("top"), Permissions::from_mode(0o711)).unwrap();
        fs::write(complete.join("content/other"), "copied").unwrap();
        fs::create_dir(place.path("volume/moved")).unwrap();
        assert!(place.fill());
        assert_eq!((place.names().join(" "), place.mode()), ("deep moved other".to_owned(), 0o711));
        assert_eq!(read(&place.path("volume/other")), "copied");
        // The image has nothing there any more, and the top was all that was left to do.
        fs::create_dir_all(complete.join("content")).unwrap();
        let volume = place.open("volume");
        assert!(fill(None, volume.as_fd(), Target::Plain).unwrap());
        assert_eq!(place.names().join(" "), "deep moved other");
    }

    #[test]
    fn an_empty_directory_gives_owner_and_mode_to_an_untouched_volume() {
        let place = Place::new("mode");
        fs::create_dir(place.path("empty")).unwrap();
        fs::set_permissions(place.path("empty"), Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(place.path("volume"), Permissions::from_mode(0o700)).unwrap();
        let (empty, volume) = (place.open("empty"), place.open("volume"));
        assert!(!fill(Some(empty.as_fd()), volume.as_fd(), Target::Plain).unwrap());
        assert_eq!(place.mode(), 0o700);
        fs::set_permissions(place.path("volume"), Permissions::from_mode(0o755)).unwrap();
        assert!(!fill(Some(empty.as_fd()), volume.as_fd(), Target::Plain).unwrap());
        // Root owns what a new volume is; the tests may be somebody else's.
        let expected = if rustix::process::geteuid().is_root() { 0o1777 } else { 0o755 };
        assert_eq!(place.mode(), expected);
        assert!(!fill(None, volume.as_fd(), Target::Plain).unwrap());
    }

    #[test]
    fn many_at_once_make_one_copy() {
        for round in 0..20 {
            let place = Place::new(&format!("race-{round}"));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| assert!(place.fill()));
                }
            });
            assert_eq!(place.names(), ["deep", "other"]);
        }
    }
}
