//! Tracers of the guest's own, who see and change the registers of one that makes calls.

use std::arch::asm;
use std::ffi::{c_int, c_long};
use std::time::Duration;

use crate::{_exit, GETPPID, ended, filter, fork, row, waitpid};

unsafe extern "C" {
    fn ptrace(request: c_long, ...) -> c_long;
    fn raise(signal: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
}

/// sys/user.h: where R12 is in a user_regs_struct, in words
const TRACED_R12: usize = 3;
const PTRACE_GETREGS: c_long = 12;
const PTRACE_SETREGS: c_long = 13;
const PTRACE_ATTACH: c_long = 16;
const PTRACE_DETACH: c_long = 17;
const PTRACE_TRACEME: c_long = 0;
const PTRACE_CONT: c_long = 7;
const PTRACE_SETOPTIONS: c_long = 0x4200;
const PTRACE_O_TRACESECCOMP: c_long = 0x80;
const GETPGRP: u32 = 111;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
const SIGSTOP: c_int = 19;

/// One that comes and goes.
pub(crate) fn attached() {
    for round in 0u64..20 {
        let start = 0xabcd_0000_0000 + round;
        // SAFETY: the child only makes calls.
        let child = unsafe { fork() };
        if child == 0 {
            be_traced(start);
        }
        std::thread::sleep(Duration::from_millis(5 + round));
        let mut status = 0;
        // SAFETY: the status is written.
        unsafe {
            assert_eq!(ptrace(PTRACE_ATTACH, child, 0, 0), 0);
            assert_eq!(waitpid(child, &raw mut status, 0), child);
        }
        change_r12(child, start);
        assert_eq!(ended(child), 7 << 8);
    }
    println!("a tracer finds and changes the registers");
}

/// A sandbox of the guest's own: of one call its tracer is told by a filter, after a row that it is not told of.
pub(crate) fn filtered() {
    let start = 0x7777_0000_0000u64;
    // SAFETY: the child makes calls and ends.
    let child = unsafe { fork() };
    if child == 0 {
        be_filtered(start);
    }
    let mut status = 0;
    // SAFETY: the status is written.
    unsafe {
        assert_eq!(waitpid(child, &raw mut status, 0), child);
        assert_eq!(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP), 0);
        assert_eq!(ptrace(PTRACE_CONT, child, 0, 0), 0);
        assert_eq!(waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0x7057f, "no seccomp event");
    }
    change_r12(child, start);
    assert_eq!(ended(child), 7 << 8);
    println!("a tracer behind a filter finds and changes the registers");
}

fn be_filtered(start: u64) -> ! {
    let end: u64;
    // SAFETY: of the registers R12 alone is changed, by the tracer.
    unsafe {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        assert_eq!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        filter::install(GETPGRP, filter::TRACE);
        row();
        asm!("mov eax, {number}", "syscall", number = const GETPGRP as u64, inout("r12") start => end,
            out("rax") _, out("rcx") _, out("r11") _);
        _exit(if end == start + 1 { 7 } else { 8 })
    }
}

/// Lets a stopped child go on with R12 one more than it has to be.
fn change_r12(child: c_int, expected: u64) {
    let mut registers = [0u64; 27];
    // SAFETY: the registers have the size of a user_regs_struct.
    unsafe {
        assert_eq!(ptrace(PTRACE_GETREGS, child, 0, registers.as_mut_ptr()), 0);
        assert_eq!(registers[TRACED_R12], expected);
        registers[TRACED_R12] += 1;
        assert_eq!(ptrace(PTRACE_SETREGS, child, 0, registers.as_ptr()), 0);
        assert_eq!(ptrace(PTRACE_DETACH, child, 0, 0), 0);
    }
}

/// A child makes calls for ever with R12 as it was, and ends once that is the number after it.
pub(crate) fn be_traced(start: u64) -> ! {
    // SAFETY: see `rows_of_calls`.
    unsafe {
        asm!(
            "2:", "mov eax, {number}", "syscall", "cmp r12, {start}", "je 2b",
            number = const GETPPID, start = in(reg) start,
            inout("r12") start => _, out("rax") _, out("rcx") _, out("r11") _,
        );
        _exit(7)
    }
}
