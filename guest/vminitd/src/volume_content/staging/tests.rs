//! Filling, with what may be in the way.

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

/// What a container may have put in the place of what is ours.
#[test]
fn what_is_not_ours_is_content_and_no_error() {
    type Put = fn(&Path);
    let puts: [(&str, Put); 8] = [
        ("complete-file", |staging| fs::write(staging.join("complete"), "").unwrap()),
        ("complete-link", |staging| std::os::unix::fs::symlink("/", staging.join("complete")).unwrap()),
        ("content-file", |staging| {
            fs::create_dir(staging.join("complete")).unwrap();
            fs::write(staging.join("complete/content"), "").unwrap();
        }),
        ("content-link", |staging| {
            fs::create_dir(staging.join("complete")).unwrap();
            std::os::unix::fs::symlink("/", staging.join("complete/content")).unwrap();
        }),
        ("top-file", |staging| {
            fs::create_dir(staging.join("complete")).unwrap();
            fs::write(staging.join("complete/top"), "").unwrap();
        }),
        ("more", |staging| fs::create_dir_all(staging.join("complete/more")).unwrap()),
        ("partial-link", |staging| std::os::unix::fs::symlink("/", staging.join("partial")).unwrap()),
        ("lock-directory", |staging| fs::create_dir_all(staging.join("lock/x")).unwrap()),
    ];
    for (name, put) in puts {
        let place = Place::new(name);
        let staging = place.path("volume/.bulkhead-filling");
        fs::create_dir(&staging).unwrap();
        put(&staging);
        assert!(place.fill(), "{name}");
        // And so it stays.
        assert!(place.fill(), "{name}");
    }
}

/// A copy, and somebody who does something in its midst.
#[test]
fn whoever_meddles_with_a_copy_ends_it_and_no_more() {
    for error in [Errno::NOENT, Errno::EXIST, Errno::NOTDIR] {
        let create = || TreeError::Create { path: "x".to_owned(), source: error };
        assert!(matches!(Obstacle::of_copy(create()), Obstacle::Foreign), "{error}");
    }
    for error in [Errno::NOSPC, Errno::IO, Errno::NOTCONN, Errno::PERM] {
        let create = TreeError::Create { path: "x".to_owned(), source: error };
        assert!(matches!(Obstacle::of_copy(create), Obstacle::Failed(_)), "{error}");
        let read = TreeError::Read { path: "x".to_owned(), source: error };
        assert!(matches!(Obstacle::of_copy(read), Obstacle::Failed(_)), "{error}");
    }
    let remove = |source| Obstacle::of_removal(TreeError::Remove { path: "x".to_owned(), source });
    // Somebody adds to what is removed, or what is there may not be changed.
    for error in [Errno::NOTEMPTY, Errno::NOTDIR, Errno::PERM] {
        assert!(matches!(remove(error), Obstacle::Foreign), "{error}");
    }
    assert!(matches!(remove(Errno::IO), Obstacle::Failed(_)));
    let endless = TreeError::TooMuch { path: "x".to_owned() };
    assert!(matches!(Obstacle::of_removal(endless), Obstacle::Foreign));
}
