//! Where the top of a tree goes: the rules of `docker cp`, with missing parents made.
//!
//! | destination | a file | a directory |
//! |---|---|---|
//! | directory | into it, by its name | into it, by its name; `dir/.` merges into it |
//! | anything else that exists | replaces it | refused |
//! | nothing | is called so | is called so |
//! | nothing, with a slash behind | refused | is called so |
//!
//! A link to a directory is that directory; any other link is replaced, not followed.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::TreeError;
use super::error::text;

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
    pub fn find(path: &[u8], placement: Placement<'_>, is_directory: bool) -> Result<Self, TreeError> {
        let wants_directory = path.ends_with(b"/") || path.ends_with(b"/.") || matches!(path, b"." | b"..");
        let found = match openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), NO_MAGIC) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            // "file/": a name with a slash behind that is no directory.
            Err(Errno::NOTDIR) => return Err(occupied(path, false)),
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
                    _ => Ok(Self::Named { parent: directory, name: source_name.to_vec() }),
                }
            }
            Some(_) if is_directory => Err(occupied(path, false)),
            None if wants_directory && !is_directory => Err(TreeError::NoDirectory { path: text(path) }),
            Some(_) | None => {
                let (parents, name) = split(path);
                if matches!(name, b"" | b"..") {
                    return Err(TreeError::Open { path: text(path), source: Errno::NOENT });
                }
                Ok(Self::Named { parent: make_parents(path, parents)?, name: name.to_vec() })
            }
        }
    }
}

/// The user names the path, thus links on it are followed; magic ones never are.
const NO_MAGIC: ResolveFlags = ResolveFlags::NO_MAGICLINKS;

fn is_a_directory(descriptor: &OwnedFd) -> bool {
    fstat(descriptor).is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

pub(super) fn occupied(path: &[u8], by_directory: bool) -> TreeError {
    TreeError::Occupied { path: text(path), what: if by_directory { "a directory" } else { "no directory" } }
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
        let find = |path: &str, contents_only, is_directory| {
            let path = folder.path().join(path).into_os_string().into_encoded_bytes();
            let placement = Placement::Copy { source_name: b"src", contents_only };
            match Destination::find(&path, placement, is_directory) {
                Ok(Destination::Inside(_)) => "inside".to_owned(),
                Ok(Destination::Named { name, .. }) => text(&name),
                Err(TreeError::Occupied { .. }) => "occupied".to_owned(),
                Err(TreeError::NoDirectory { .. }) => "no directory".to_owned(),
                Err(error) => panic!("{error}"),
            }
        };
        let cases = [
            ("dir", "src", "src", "inside"),
            ("dir/", "src", "src", "inside"),
            ("link", "src", "src", "inside"),
            ("file", "file", "occupied", "occupied"),
            ("file/", "occupied", "occupied", "occupied"),
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
    }
}
