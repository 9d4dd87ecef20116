//! Finding and making paths inside the container's root, whose every symbolic link is hostile.
//!
//! The caller's root directory is the container's, thus no ordinary link leads out of it. Magic links
//! of procfs would: they are never followed, for PID 1's descriptors are open in the child.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// As many as the kernel follows, MAXSYMLINKS.
const MAXIMUM_LINKS: usize = 40;
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
}

/// Opens a path that exists, as O_PATH.
pub(crate) fn open(path: &str) -> Result<OwnedFd, Errno> {
    open_with(path.as_bytes(), OFlags::PATH)
}

/// Opens a path that exists without following magic links.
pub(crate) fn open_with(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// Opens a path as O_PATH; makes it, and the directories above it, where they are missing. `kind`
/// is asked only then.
pub(crate) fn open_or_make(path: &[u8], kind: impl FnOnce() -> Kind) -> Result<OwnedFd, Errno> {
    match open_with(path, OFlags::PATH) {
        Err(Errno::NOENT) => make(path, kind()),
        result => result,
    }
}

/// Walks the path in steps of one component, so that a dangling link is completed behind the link
/// instead of being replaced, as Docker does for /etc/resolv.conf of Debian images.
fn make(path: &[u8], kind: Kind) -> Result<OwnedFd, Errno> {
    let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut entered = vec![root];
    let mut pending = components(path);
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == b".." {
            if entered.len() > 1 {
                entered.pop();
            }
            continue;
        }
        let Some(parent) = entered.last() else { return Err(Errno::NOENT) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let child = match openat(parent, name.as_slice(), flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                if pending.is_empty() && kind == Kind::File {
                    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    openat(parent, name.as_slice(), create, Mode::from_raw_mode(0o644))?;
                } else {
                    mkdirat(parent, name.as_slice(), DIRECTORY_MODE)?;
                }
                openat(parent, name.as_slice(), flags, Mode::empty())?
            }
            result => result?,
        };
        if FileType::from_raw_mode(fstat(&child)?.st_mode) != FileType::Symlink {
            entered.push(child);
            continue;
        }
        links += 1;
        if links > MAXIMUM_LINKS {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(&child, c"", Vec::new())?;
        if target.as_bytes().starts_with(b"/") {
            entered.truncate(1);
        }
        pending.extend(components(target.as_bytes()));
    }
    entered.pop().ok_or(Errno::NOENT)
}

/// Names in reverse, so that the next one is popped off the end.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_in_reverse_without_noise() {
        assert_eq!(
            components(b"//a/./b/../c/"),
            [b"c".to_vec(), b"..".to_vec(), b"b".to_vec(), b"a".to_vec()]
        );
    }

    /// The walk starts at "/", so the test's directory stands in for a part of the container.
    #[test]
    fn missing_parts_are_made_behind_links() {
        let directory = std::env::temp_dir().join(format!("vminitd-mount-points-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        std::os::unix::fs::symlink("run/stub/resolv.conf", directory.join("link")).unwrap();
        std::os::unix::fs::symlink("loop", directory.join("loop")).unwrap();
        let path = |name: &str| directory.join(name).into_os_string().into_encoded_bytes();
        open_or_make(&path("link"), || Kind::File).unwrap();
        assert!(directory.join("run/stub/resolv.conf").is_file());
        open_or_make(&path("a/b/c"), || Kind::Directory).unwrap();
        assert!(directory.join("a/b/c").is_dir());
        assert_eq!(make(&path("loop"), Kind::File).unwrap_err(), Errno::LOOP);
        let magic = open_with(b"/proc/self/fd/0", OFlags::PATH).unwrap_err();
        assert_eq!(magic, Errno::LOOP);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
