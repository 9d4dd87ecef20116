//! Places that were made to be covered while work on the files of a stopped container is done: the container never
//! had them, and is not to find them.
//!
//! They are removed after the work. A machine that is ended in its midst does not get there, so they are written down
//! before they are made, beside the container's layer, where it cannot reach; the next machine removes them. Without
//! that, a directory would stay where a file is to be mounted one day.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::mount_points::Kind;

/// On the container's disk: what it was to be, and its path, with a null at the end of each.
const NOTE: &str = "made-places";
const DIRECTORY: u8 = b'd';
const FILE: u8 = b'f';
/// Far more than a container has mounts.
const MOST_BYTES: u64 = 16 << 20;

/// What is made now.
#[derive(Debug)]
pub(crate) struct MadePlaces<'a> {
    disk: &'a OwnedFd,
    places: Vec<(String, Kind)>,
}

impl<'a> MadePlaces<'a> {
    /// `disk` is the one that holds the container's layer.
    pub(crate) fn on(disk: &'a OwnedFd) -> Self {
        Self { disk, places: Vec::new() }
    }

    /// It is about to be made.
    pub(super) fn announce(&mut self, path: &str, kind: Kind) {
        // On a disk without room the work goes on: it may be a copy that is to make some.
        let _ = write_down(self.disk, path, kind);
        self.places.push((path.to_owned(), kind));
    }

    /// Removes what was made, as far as it is still what it was: a later start is to make what it needs itself.
    pub(crate) fn remove(self) {
        for (path, kind) in self.places.iter().rev() {
            let _ = unmount(path.as_str(), UnmountFlags::DETACH);
            remove_empty(path, *kind);
        }
        if !self.places.is_empty() {
            let _ = unlinkat(self.disk, NOTE, AtFlags::empty());
        }
    }
}

/// Removes what an earlier machine did not get to remove. Nothing may be mounted there yet.
pub(crate) fn remove_left(disk: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(note) = openat(disk, NOTE, flags, Mode::empty()) else { return };
    let mut written = Vec::new();
    // What cannot be read was about places that are as empty as they were when they were made.
    let _ = File::from(note).take(MOST_BYTES).read_to_end(&mut written);
    for place in written.split(|byte| *byte == 0).rev() {
        let Some((kind, path)) = place.split_first() else { continue };
        let kind = if *kind == DIRECTORY { Kind::Directory } else { Kind::File };
        if let Ok(path) = std::str::from_utf8(path) {
            remove_empty(path, kind);
        }
    }
    let _ = unlinkat(disk, NOTE, AtFlags::empty());
}

/// On the disk before the place is.
fn write_down(disk: &OwnedFd, path: &str, kind: Kind) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut note = File::from(openat(disk, NOTE, flags, Mode::RUSR | Mode::WUSR)?);
    let kind = if kind == Kind::Directory { DIRECTORY } else { FILE };
    note.write_all(&[&[kind], path.as_bytes(), &[0]].concat())?;
    note.sync_all()
}

fn remove_empty(path: &str, kind: Kind) {
    // What cannot be removed is as empty as it was when it was made.
    let _ = match kind {
        Kind::Directory => unlinkat(CWD, path, AtFlags::REMOVEDIR),
        Kind::File => remove_empty_file(path),
    };
}

fn remove_empty_file(path: &str) -> Result<(), Errno> {
    let status = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_empty = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_size == 0;
    if is_empty { unlinkat(CWD, path, AtFlags::empty()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A disk, and what is on it and beside it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("vminitd-made-{name}-{}", std::process::id()));
            std::fs::create_dir_all(folder.join("disk")).unwrap();
            let place = Self(folder);
            std::fs::create_dir_all(place.path("empty")).unwrap();
            std::fs::create_dir_all(place.path("used/inside")).unwrap();
            std::fs::write(place.path("file"), "").unwrap();
            std::fs::write(place.path("written"), "x").unwrap();
            place
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).into_os_string().into_string().unwrap()
        }

        fn disk(&self) -> OwnedFd {
            File::open(self.path("disk")).unwrap().into()
        }

        fn announce(&self, made: &mut MadePlaces<'_>) {
            for name in ["empty", "used"] {
                made.announce(&self.path(name), Kind::Directory);
            }
            for name in ["file", "written", "gone"] {
                made.announce(&self.path(name), Kind::File);
            }
        }

        fn names(&self, name: &str) -> Vec<String> {
            let entries = std::fs::read_dir(self.path(name)).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // What is left is in the way of nobody.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_what_is_empty_is_removed() {
        let place = Place::new("removed");
        let disk = place.disk();
        let mut made = MadePlaces::on(&disk);
        place.announce(&mut made);
        made.remove();
        assert_eq!(place.names("."), ["disk", "used", "written"]);
        assert!(place.names("disk").is_empty());
    }

    #[test]
    fn what_was_not_removed_is_by_the_next() {
        let place = Place::new("left");
        let disk = place.disk();
        remove_left(&disk);
        place.announce(&mut MadePlaces::on(&disk));
        assert_eq!(place.names("disk"), [NOTE]);
        assert_eq!(place.names("."), ["disk", "empty", "file", "used", "written"]);
        remove_left(&disk);
        assert_eq!(place.names("."), ["disk", "used", "written"]);
        assert!(place.names("disk").is_empty());
        // Once: what has the name later is somebody's.
        std::fs::create_dir(place.path("empty")).unwrap();
        remove_left(&disk);
        assert_eq!(place.names("."), ["disk", "empty", "used", "written"]);
    }
}
