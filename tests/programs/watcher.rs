//! Prints what inotify(7) tells. Linked statically by the tests, so that any image runs it.
//!
//! `watcher PATH...`: says `ready`, and then for each event the path that is watched, its kinds, and the name.
//! Names of a rename are followed by a number that both have. Says `rest` when nothing has come for a second.

use std::ffi::{CString, c_char, c_int, c_short, c_ulong};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};

#[repr(C)]
struct Poll {
    descriptor: c_int,
    events: c_short,
    returned: c_short,
}

unsafe extern "C" {
    fn inotify_init1(flags: c_int) -> c_int;
    fn inotify_add_watch(descriptor: c_int, path: *const c_char, mask: u32) -> c_int;
    fn poll(polls: *mut Poll, count: c_ulong, milliseconds: c_int) -> c_int;
}

/// All but what is opened, read and closed.
const MASK: u32 = 0xfce;
const READABLE: c_short = 1;
const KINDS: [(u32, &str); 13] = [
    (0x2, "MODIFY"),
    (0x4, "ATTRIB"),
    (0x8, "CLOSE_WRITE"),
    (0x40, "MOVED_FROM"),
    (0x80, "MOVED_TO"),
    (0x100, "CREATE"),
    (0x200, "DELETE"),
    (0x400, "DELETE_SELF"),
    (0x800, "MOVE_SELF"),
    (0x2000, "UNMOUNT"),
    (0x4000, "OVERFLOW"),
    (0x8000, "IGNORED"),
    (0x4000_0000, "DIRECTORY"),
];

fn main() -> io::Result<()> {
    // SAFETY: takes a number and makes a descriptor, which is nobody else's.
    let mut inotify = unsafe { File::from_raw_fd(inotify_init1(0)) };
    let mut paths = vec!["?".to_owned()];
    for path in std::env::args().skip(1) {
        let name = CString::new(path.as_str())?;
        // SAFETY: the name ends with a null.
        if unsafe { inotify_add_watch(inotify.as_raw_fd(), name.as_ptr(), MASK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        paths.push(path);
    }
    println!("ready");
    let mut buffer = [0; 65536];
    let mut tired = true;
    loop {
        let mut polled = Poll { descriptor: inotify.as_raw_fd(), events: READABLE, returned: 0 };
        // SAFETY: there is one.
        if unsafe { poll(&mut polled, 1, if tired { -1 } else { 1000 }) } == 0 {
            println!("rest");
            tired = true;
            continue;
        }
        tired = false;
        let length = inotify.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        while let Some((header, behind)) = rest.split_at_checked(16) {
            let word = |index: usize| u32::from_ne_bytes(header[index * 4..][..4].try_into().unwrap());
            let (name, behind) = behind.split_at(word(3) as usize);
            rest = behind;
            let kinds: Vec<&str> =
                KINDS.iter().filter(|(bit, _)| word(1) & bit != 0).map(|(_, kind)| *kind).collect();
            let name = String::from_utf8_lossy(name);
            let mut line = format!("{} {}", paths[(word(0) as usize).min(paths.len() - 1)], kinds.join("|"));
            if !name.is_empty() {
                line += &format!(" {}", name.trim_end_matches('\0'));
            }
            if word(2) != 0 {
                line += &format!(" {}", word(2));
            }
            println!("{line}");
        }
        io::stdout().flush()?;
    }
}
