//! Whether something is mounted inside of what is shared. Of a change behind a mount point the directory in which
//! that is hears nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, fstat};

/// To be asked before the jail is entered, where nothing can be mounted any more; it needs `/proc`.
pub(crate) fn has_inner(shared: impl AsFd) -> io::Result<bool> {
    // A file is itself mounted in a root of its own.
    if FileType::from_raw_mode(fstat(&shared)?.st_mode) != FileType::Directory {
        return Ok(true);
    }
    let own = fs::read_link(format!("/proc/self/fd/{}", shared.as_fd().as_raw_fd()))?;
    let all = fs::read("/proc/self/mountinfo")?;
    Ok(is_above_one(own.as_os_str().as_bytes(), &all))
}

/// proc_pid_mountinfo(5): the fifth word is the mount point.
fn is_above_one(path: &[u8], mounts: &[u8]) -> bool {
    let path = if path == b"/" { b"" } else { path };
    mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).any(
        |point| {
            let point = unescaped(point);
            point.strip_prefix(path).is_some_and(|rest| rest.len() > 1 && rest.starts_with(b"/"))
        },
    )
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, following @ ..] = rest {
        let digits = (*first == b'\\').then(|| following.get(..3)).flatten();
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &following[3..] } else { following };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_path_are_found() {
        let mounts = b"22 1 8:1 / / rw - ext4 /dev/vda rw\n\
            30 22 0:5 / /srv/a\\040b rw shared:2 - tmpfs tmpfs rw\n\
            31 30 0:6 /x /srv/a\\040b/c rw - tmpfs tmpfs rw\n";
        for (path, is_above) in [
            ("/", true),
            ("/srv", true),
            ("/srv/a b", true),
            ("/srv/a", false),
            ("/srv/a b/c", false),
            ("/home", false),
        ] {
            assert_eq!(is_above_one(path.as_bytes(), mounts), is_above, "{path}");
        }
    }
}
