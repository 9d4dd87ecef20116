//! Runs a command under a seccomp filter, as containers of other tools and units of systemd do. It refuses one system
//! call, getpgrp(2), which the command has no need of.

use std::ffi::c_int;
use std::os::unix::process::CommandExt;
use std::process::Command;

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

/// linux/filter.h
#[repr(C)]
struct Instruction {
    code: u16,
    if_equal: u8,
    otherwise: u8,
    number: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    filter: *const Instruction,
}

const PR_SET_SECCOMP: c_int = 22;
const SECCOMP_MODE_FILTER: c_int = 2;
const GETPGRP: u32 = 111;

fn main() {
    let step = |code, if_equal, otherwise, number| Instruction { code, if_equal, otherwise, number };
    // Load the number; SECCOMP_RET_ERRNO with EPERM, or SECCOMP_RET_ALLOW.
    let filter =
        [step(0x20, 0, 0, 0), step(0x15, 0, 1, GETPGRP), step(6, 0, 0, 0x5_0001), step(6, 0, 0, 0x7fff_0000)];
    let program = Program { length: 4, filter: filter.as_ptr() };
    // SAFETY: the filter is read.
    let set = unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "no filter: {}", std::io::Error::last_os_error());
    let mut words = std::env::args().skip(1);
    let error = Command::new(words.next().expect("a command")).args(words).exec();
    panic!("{error}");
}
