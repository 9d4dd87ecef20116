//! How a volume is filled so that it is empty or full, whatever dies on the way.
//!
//! ```text
//!  .bulkhead-filling/            only while a volume is being filled
//!      partial/                  what is copied; of no use to whoever finds it
//!          content/  top/        the directory's entries, and an empty directory with its owner and mode
//!      complete/                 is what partial is called once all of it is on the disk
//! ```
//!
//! From `complete` the entries move to where they belong, one rename(2) each. Whoever finds it goes on with
//! that; whoever finds `partial` begins again. The host lets one machine do it at a time: nothing in the volume
//! could be a lock, for all its containers can reach it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_archive::tree::{Target, TreeError, copy, copy_attributes, remove};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, fstat, mkdirat, openat, renameat, renameat_with,
    statat, syncfs, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

const STAGING: &str = ".bulkhead-filling";
/// What earlier versions locked.
const LOCK: &str = "lock";
const PARTIAL: &str = "partial";
const COMPLETE: &str = "complete";
const CONTENT: &str = "content";
const TOP: &str = "top";
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
}

/// Fills an empty volume with what `source` holds; tells whether it holds something now. A directory that holds
/// nothing gives its owner and mode to a volume that nobody has touched.
pub(super) fn fill(
    source: Option<BorrowedFd<'_>>,
    volume: BorrowedFd<'_>,
    kind: Target,
) -> Result<bool, StagingError> {
    let root = open_directory(volume, ".")?;
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
    match Staging::enter(&root) {
        // Whoever has the volume put something else there meanwhile.
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(true),
        staging => staging?.fill(source, kind),
    }
}

/// Whether there is anything in a volume, and all of what was to be there.
pub(super) fn holds_content(volume: &OwnedFd) -> bool {
    let found = open_directory(volume.as_fd(), ".").and_then(|root| survey(&root));
    found.is_ok_and(|found| found.content && !found.staging)
}

/// The directory for the work.
struct Staging<'a> {
    root: &'a OwnedFd,
    directory: OwnedFd,
}

impl<'a> Staging<'a> {
    fn enter(root: &'a OwnedFd) -> Result<Self, Errno> {
        match mkdirat(root, STAGING, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { root, directory: open_directory(root.as_fd(), STAGING)? })
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
                    match move_new(&content, self.root, &name, rename_new) {
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
        // Without it there was nothing to remove.
        let _ = unlinkat(&self.directory, LOCK, AtFlags::empty());
        match unlinkat(self.root, STAGING, AtFlags::REMOVEDIR) {
            // What a container put there is its own.
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        // What the host is told next counts for good.
        syncfs(self.root)
    }
}

/// Moves an entry to where nothing is yet; `rename` is [`rename_new`]. File systems of the network and of programs may
/// not know how: then a look before must do.
fn move_new(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &[u8],
    rename: impl Fn(&OwnedFd, &OwnedFd, &[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match rename(from, to, name) {
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(from, name, to, name),
            Err(error) => Err(error),
        },
        result => result,
    }
}

fn rename_new(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    renameat_with(from, name, to, name, RenameFlags::NOREPLACE)
}

/// What is in the root of a volume.
struct Found {
    staging: bool,
    content: bool,
}

fn survey(root: &OwnedFd) -> Result<Found, Errno> {
    // Anything else of that name is not ours.
    let staging = match statat(root, STAGING, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => FileType::from_raw_mode(status.st_mode) == FileType::Directory,
        Err(Errno::NOENT) => false,
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(root)? {
        match entry?.file_name().to_bytes() {
            // What e2fsck makes where it misses it is no content.
            b"." | b".." | b"lost+found" => {}
            name if staging && name == STAGING.as_bytes() => {}
            _ => return Ok(Found { staging, content: true }),
        }
    }
    Ok(Found { staging, content: false })
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
        assert!(!holds_content(&place.open("volume")));
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
        assert!(!holds_content(&place.open("volume")));
        assert!(place.fill());
        assert!(holds_content(&place.open("volume")));
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
    fn what_a_container_locks_or_puts_there_holds_up_nobody() {
        use rustix::fs::{FlockOperation, flock};
        let place = Place::new("locked");
        let staging = place.path("volume/.bulkhead-filling");
        fs::create_dir(&staging).unwrap();
        let lock = File::create(staging.join("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        assert!(place.fill());
        assert_eq!(place.names(), ["deep", "other"]);
        // What is no directory is content.
        let place = Place::new("occupied");
        fs::write(place.path("volume/.bulkhead-filling"), "").unwrap();
        assert!(place.fill());
        assert_eq!(place.names(), [".bulkhead-filling"]);
        assert!(holds_content(&place.open("volume")));
        let place = Place::new("link");
        std::os::unix::fs::symlink("/", place.path("volume/.bulkhead-filling")).unwrap();
        assert!(place.fill());
        assert_eq!(place.names(), [".bulkhead-filling"]);
    }

    #[test]
    fn file_systems_that_cannot_refuse_to_replace_are_looked_into_first() {
        let place = Place::new("plain");
        fs::write(place.path("volume/other"), "kept").unwrap();
        let (image, volume) = (place.open("image"), place.open("volume"));
        for error in [Errno::INVAL, Errno::NOSYS] {
            let refuse = |_: &OwnedFd, _: &OwnedFd, _: &[u8]| Err(error);
            assert_eq!(move_new(&image, &volume, b"other", refuse), Err(Errno::EXIST));
        }
        move_new(&image, &volume, b"deep", |_, _, _| Err(Errno::INVAL)).unwrap();
        assert_eq!(read(&place.path("volume/other")), "kept");
        assert_eq!(read(&place.path("volume/deep/file")), "content");
        let other = |_: &OwnedFd, _: &OwnedFd, _: &[u8]| Err(Errno::NOSPC);
        assert_eq!(move_new(&image, &volume, b"other", other), Err(Errno::NOSPC));
    }
}
