//! Compares the clocks that the C library reads with those that the kernel tells when it is asked, and prints how
//! much less time reading takes. With `all` also after the time was set, and in a time namespace.

use std::ffi::{c_int, c_long};
use std::time::Instant;

#[repr(C)]
#[derive(Default)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn setns(namespace: c_int, kind: c_int) -> c_int;
}

/// linux/time.h: REALTIME, MONOTONIC, BOOTTIME, and the first two as of the last tick.
const CLOCKS: [c_int; 5] = [0, 1, 7, 5, 6];
const MONOTONIC: c_int = 1;
const ROUNDS: usize = 20_000;
/// Of x86-64.
const CLOCK_SETTIME: c_long = 227;
const CLOCK_GETTIME: c_long = 228;
const CLONE_NEWTIME: c_int = 0x80;

fn read(clock: c_int) -> i64 {
    let mut time = Timespec::default();
    // SAFETY: the time is written.
    assert_eq!(unsafe { clock_gettime(clock, &raw mut time) }, 0);
    time.seconds * 1_000_000_000 + time.nanoseconds
}

fn ask(clock: c_int) -> i64 {
    let mut time = Timespec::default();
    // SAFETY: the time is written.
    assert_eq!(unsafe { syscall(CLOCK_GETTIME, clock, &raw mut time) }, 0);
    time.seconds * 1_000_000_000 + time.nanoseconds
}

fn compare(when: &str) {
    for clock in CLOCKS {
        let mut steps = 0;
        for _ in 0..ROUNDS {
            let (before, between, after) = (ask(clock), read(clock), ask(clock));
            if before > between || between > after {
                steps += 1;
                // The date may be put right once meanwhile.
                let is_date = clock == 0 || clock == 5;
                assert!(is_date && steps == 1, "{when}, clock {clock}: {before} {between} {after}");
            }
        }
    }
}

fn set_forward(seconds: i64) {
    let now = ask(0);
    let time = Timespec { seconds: now / 1_000_000_000 + seconds, nanoseconds: now % 1_000_000_000 };
    // SAFETY: the time is read.
    assert_eq!(unsafe { syscall(CLOCK_SETTIME, 0, &raw const time) }, 0, "clock_settime");
}

fn in_a_namespace() {
    let before = ask(MONOTONIC);
    // SAFETY: nothing of memory.
    assert_eq!(unsafe { unshare(CLONE_NEWTIME) }, 0, "unshare");
    std::fs::write("/proc/self/timens_offsets", "monotonic 1000 0\nboottime 2000 0\n").unwrap();
    // SAFETY: one thread; the child ends soon.
    let child = unsafe { fork() };
    if child == 0 {
        assert!(ask(MONOTONIC) - before > 999_000_000_000, "the child has a time of its own");
        compare("in a child");
        std::process::exit(0);
    }
    let mut status = 0;
    // SAFETY: the status is written.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child");
    compare("outside");
    let namespace = std::fs::File::open("/proc/self/ns/time_for_children").unwrap();
    // SAFETY: nothing of memory.
    assert_eq!(unsafe { setns(std::os::fd::AsRawFd::as_raw_fd(&namespace), CLONE_NEWTIME) }, 0, "setns");
    assert!(ask(MONOTONIC) - before > 999_000_000_000, "the process has a time of its own");
    compare("after joining");
}

/// How many times longer asking takes.
fn advantage() -> u128 {
    let measure = |clock_of: fn(c_int) -> i64| {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            clock_of(MONOTONIC);
        }
        begin.elapsed().as_nanos().max(1)
    };
    measure(ask) / measure(read)
}

fn main() {
    compare("at first");
    println!("{}", advantage());
    if std::env::args().nth(1).as_deref() == Some("all") {
        set_forward(5000);
        compare("after a step ahead");
        set_forward(-5000);
        compare("after a step back");
        in_a_namespace();
    }
}
