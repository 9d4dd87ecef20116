//! Where the top of a tree goes: the rules of `docker cp`, with missing parents made.
//!
//! | destination | a file | a directory |
//! |---|---|---|
//! | directory | into it, by its name | into it, by its name; `dir/.` merges into it |
//! | file, or link to one | replaces the file | refused |
//! | device, pipe or socket | refused | refused |
//! | nothing | is called so | is called so |
//! | nothing, with a slash behind | refused | is called so |
//!
//! A link is what it leads to if the path names it, and replaced if it leads to nothing or if what is copied
//! is itself a link. One that has the name in the directory that the path names is replaced.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat, openat2, readlinkat,
    statat,
};
use rustix::io::Errno;

use super::TreeError;
use super::error::text;
use super::pack::describe;
use crate::tar::Kind;

/// As many as the kernel follows, path_resolution(7).
const MAXIMUM_LINKS: usize = 40;

/// How a stream becomes a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement<'a> {
    /// It holds one tree whose top is called ".", copied as the table says.
    Copy {
        /// Last name of the source's path; empty if it has none.
        source_name: &'a [u8],
        /// The source was named `dir/.`.
        contents_only: bool,
    },
    /// It is any archive, unpacked in an existing directory.
    Unpack,
}

/// A place for the top of a tree.
#[derive(Debug)]
pub enum Destination {
    /// Its contents go into this directory.
    Inside(OwnedFd),
    /// It gets this name in this directory.
    Named {
        /// O_PATH.
        parent: OwnedFd,
        /// One component.
        name: Vec<u8>,
    },
}

impl Destination {
    /// Finds the place for a top; makes the directories above it.
    ///
    /// # Errors
    /// The place is taken by something of another kind, is missing, or cannot be looked up or made.
    pub fn find(path: &[u8], placement: Placement<'_>, top: Kind) -> Result<Self, TreeError> {
        let is_directory = top == Kind::Directory;
        let wants_directory = path.ends_with(b"/") || path.ends_with(b"/.") || matches!(path, b"." | b"..");
        let found = match openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), NO_MAGIC) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(Errno::NOTDIR) => return Err(occupied(no_directory(path), false)),
            // In circles, or to what a process has open, as /dev/stdout.
            Err(Errno::LOOP) => return Err(unsuitable(path, "a link that is not followed")),
            Err(source) => return Err(TreeError::Open { path: text(path), source }),
        };
        let (source_name, contents_only) = match placement {
            Placement::Copy { source_name, contents_only } => (source_name, contents_only),
            Placement::Unpack => {
                return match found {
                    Some(directory) if is_a_directory(&directory) => Ok(Self::Inside(directory)),
                    Some(_) => Err(occupied(path, false)),
                    None => Err(TreeError::NoDirectory { path: text(path) }),
                };
            }
        };
        match found {
            Some(directory) if is_a_directory(&directory) => {
                let nameless = matches!(source_name, b"" | b"." | b"..") || source_name.contains(&b'/');
                match (is_directory, contents_only || nameless) {
                    (true, true) => Ok(Self::Inside(directory)),
                    (false, _) if nameless => Err(occupied(path, true)),
                    _ => {
                        if let Ok(status) = statat(&directory, source_name, AtFlags::SYMLINK_NOFOLLOW) {
                            spare_special(&status, source_name)?;
                        }
                        Ok(Self::Named { parent: directory, name: source_name.to_vec() })
                    }
                }
            }
            Some(_) if is_directory => Err(TreeError::OntoFile { path: text(path) }),
            Some(file) => {
                let status = fstat(&file).map_err(|source| TreeError::Open { path: text(path), source })?;
                spare_special(&status, path)?;
                let named = Self::named(path)?;
                if top == Kind::Symlink { Ok(named) } else { named.follow(path, &status) }
            }
            None if wants_directory && !is_directory => Err(TreeError::NoDirectory { path: text(path) }),
            None => Self::named(path),
        }
    }

    /// The path's last name, in the directory before it.
    fn named(path: &[u8]) -> Result<Self, TreeError> {
        let (parents, name) = split(path);
        if matches!(name, b"" | b"..") {
            return Err(TreeError::Open { path: text(path), source: Errno::NOENT });
        }
        Ok(Self::Named { parent: make_parents(path, parents)?, name: name.to_vec() })
    }

    /// Where the file is that a link leads to. The kernel has followed it before, which knows whose links
    /// are not to be followed (fs.protected_symlinks): what is found here must be the same file.
    fn follow(self, path: &[u8], file: &Stat) -> Result<Self, TreeError> {
        let error = |source| TreeError::Open { path: text(path), source };
        let Self::Named { mut parent, mut name } = self else { return Ok(self) };
        for _ in 0..=MAXIMUM_LINKS {
            let target = match readlinkat(&parent, name.as_slice(), Vec::new()) {
                Ok(target) => target.into_bytes(),
                // No link.
                Err(Errno::INVAL) => {
                    let status =
                        statat(&parent, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(error)?;
                    let same = (status.st_dev, status.st_ino) == (file.st_dev, file.st_ino);
                    return if same { Ok(Self::Named { parent, name }) } else { Err(error(Errno::STALE)) };
                }
                Err(source) => return Err(error(source)),
            };
            let (parents, last) = split(&target);
            let parents = if parents.is_empty() { b"." } else { parents };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            parent = openat2(&parent, parents, flags, Mode::empty(), NO_MAGIC).map_err(error)?;
            name = last.to_vec();
        }
        Err(error(Errno::LOOP))
    }
}

/// A device, pipe or socket is somebody's way to something: it is not replaced by what was meant to be
/// written into it.
pub(super) fn spare_special(status: &Stat, shown: &[u8]) -> Result<(), TreeError> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile | FileType::Symlink | FileType::Directory => Ok(()),
        kind => Err(unsuitable(shown, describe(kind))),
    }
}

fn unsuitable(path: &[u8], what: &'static str) -> TreeError {
    TreeError::Unsuitable { path: text(path), what }
}

/// The user names the path, thus links on it are followed; magic ones never are.
const NO_MAGIC: ResolveFlags = ResolveFlags::NO_MAGICLINKS;

fn is_a_directory(descriptor: &OwnedFd) -> bool {
    fstat(descriptor).is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

pub(super) fn occupied(path: &[u8], by_directory: bool) -> TreeError {
    TreeError::Occupied { path: text(path), what: if by_directory { "a directory" } else { "no directory" } }
}

/// The part of the path, or all of it ("file/"), that is there and no directory, though more follows.
fn no_directory(path: &[u8]) -> &[u8] {
    let is_something_else = |part: &&[u8]| {
        let found = openat2(CWD, *part, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), NO_MAGIC);
        found.is_ok_and(|found| !is_a_directory(&found))
    };
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    slashes.map(|slash| &path[..slash]).find(is_something_else).unwrap_or(path)
}

/// Directories and last name; slashes and dots at the end mean nothing.
fn split(mut path: &[u8]) -> (&[u8], &[u8]) {
    while let Some(shorter) = path.strip_suffix(b"/").or_else(|| path.strip_suffix(b"/.")) {
        path = shorter;
    }
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn make_parents(path: &[u8], parents: &[u8]) -> Result<OwnedFd, TreeError> {
    let error = |source| TreeError::Create { path: text(path), source };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let start = if parents.starts_with(b"/") { c"/" } else { c"." };
    let mut directory = openat(CWD, start, flags, Mode::empty()).map_err(error)?;
    for name in parents.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let child = match openat2(&directory, name, flags, Mode::empty(), NO_MAGIC) {
            Err(Errno::NOENT) => match mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {
                    openat(&directory, name, flags | OFlags::NOFOLLOW, Mode::empty())
                }
                Err(error) => Err(error),
            },
            result => result,
        };
        directory = child.map_err(error)?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_before_their_last_name() {
        let cases: [(&[u8], &[u8], &[u8]); 7] = [
            (b"/a/b", b"/a/", b"b"),
            (b"a", b"", b"a"),
            (b"/a//b//", b"/a//", b"b"),
            (b"a/b/./", b"a/", b"b"),
            (b"/", b"", b""),
            (b"../x", b"../", b"x"),
            (b"a/..", b"a/", b".."),
        ];
        for (path, parents, name) in cases {
            assert_eq!(split(path), (parents, name), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn trap11_the_table_holds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("dir", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("chain", folder.path().join("file-link")).unwrap();
        std::os::unix::fs::symlink("dir/../file", folder.path().join("chain")).unwrap();
        std::os::unix::fs::symlink("circle", folder.path().join("circle")).unwrap();
        std::os::unix::fs::symlink("/proc/self/fd/0", folder.path().join("magic")).unwrap();
        rustix::fs::mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::os::unix::fs::symlink("pipe", folder.path().join("pipe-link")).unwrap();
        let find = |path: &str, contents_only, is_directory| {
            let path = folder.path().join(path).into_os_string().into_encoded_bytes();
            let placement = Placement::Copy { source_name: b"src", contents_only };
            let top = if is_directory { Kind::Directory } else { Kind::File };
            match Destination::find(&path, placement, top) {
                Ok(Destination::Inside(_)) => "inside".to_owned(),
                Ok(Destination::Named { name, .. }) => text(&name),
                Err(TreeError::Occupied { .. }) => "occupied".to_owned(),
                Err(TreeError::OntoFile { .. }) => "onto a file".to_owned(),
                Err(TreeError::NoDirectory { .. }) => "no directory".to_owned(),
                Err(TreeError::Unsuitable { .. }) => "unsuitable".to_owned(),
                Err(error) => panic!("{error}"),
            }
        };
        let cases = [
            ("dir", "src", "src", "inside"),
            ("dir/", "src", "src", "inside"),
            ("link", "src", "src", "inside"),
            ("file", "file", "onto a file", "onto a file"),
            ("file/", "occupied", "occupied", "occupied"),
            ("file-link", "file", "onto a file", "onto a file"),
            ("pipe", "unsuitable", "onto a file", "onto a file"),
            ("pipe-link", "unsuitable", "onto a file", "onto a file"),
            ("circle", "unsuitable", "unsuitable", "unsuitable"),
            ("magic", "unsuitable", "unsuitable", "unsuitable"),
            ("dangling", "dangling", "dangling", "dangling"),
            ("new", "new", "new", "new"),
            ("new/", "no directory", "new", "new"),
            ("a/b/new", "new", "new", "new"),
        ];
        for (path, file, directory, contents) in cases {
            assert_eq!(find(path, false, false), file, "{path}");
            assert_eq!(find(path, false, true), directory, "{path}");
            assert_eq!(find(path, true, true), contents, "{path}");
        }
        assert!(folder.path().join("a/b").is_dir());
        for path in ["file/", "file/y", "file/1/y", "dir/../file//y", "file-link/y"] {
            let whole = folder.path().join(path).into_os_string().into_encoded_bytes();
            let told = Destination::find(&whole, Placement::Unpack, Kind::Directory).unwrap_err().to_string();
            let name = path.trim_end_matches(['/', 'y', '1']);
            assert!(told.ends_with(&format!("/{name}' exists and is no directory")), "{path}: {told}");
        }
    }
}
