//! A seccomp filter for one system call, for programs of this folder.

use std::ffi::c_int;

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
/// SECCOMP_RET_TRACE
#[allow(dead_code, reason = "not of every program")]
pub(crate) const TRACE: u32 = 0x7ff0_0000;
/// SECCOMP_RET_ERRNO with EPERM
#[allow(dead_code, reason = "not of every program")]
pub(crate) const REFUSE: u32 = 0x5_0001;
const ALLOW: u32 = 0x7fff_0000;

/// Has this process, and what it executes, get `action` for a system call.
pub(crate) fn install(call: u32, action: u32) {
    let step = |code, if_equal, otherwise, number| Instruction { code, if_equal, otherwise, number };
    // Load the number, compare it, return one of both.
    let filter = [step(0x20, 0, 0, 0), step(0x15, 0, 1, call), step(6, 0, 0, action), step(6, 0, 0, ALLOW)];
    let program = Program { length: 4, filter: filter.as_ptr() };
    // SAFETY: the filter is read.
    let set = unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "no filter: {}", std::io::Error::last_os_error());
}
