//! Makes system calls in long rows, in which a kernel may look at no more than what each is about, and between them
//! what needs all of a process: signals, threads, a tracer, new mappings, children. Prints a line for each that went
//! as on any Linux.

#[path = "filter.rs"]
mod filter;
#[path = "system_calls/kernel.rs"]
mod kernel;
#[path = "system_calls/tracers.rs"]
mod tracers;

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// As the C library has it on x86-64.
#[repr(C)]
struct Action {
    handler: extern "C" fn(c_int, *const c_void, *mut u64),
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

#[repr(C)]
struct Timers {
    interval: [i64; 2],
    first: [i64; 2],
}

unsafe extern "C" {
    fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int;
    fn setitimer(timer: c_int, new: *const Timers, old: *mut Timers) -> c_int;
    fn mmap(at: *mut c_void, bytes: usize, rights: c_int, flags: c_int, file: c_int, offset: i64) -> *mut u8;
    fn munmap(at: *mut u8, bytes: usize) -> c_int;
    fn pipe(ends: *mut c_int) -> c_int;
    fn read(file: c_int, to: *mut u8, bytes: usize) -> isize;
    fn write(file: c_int, from: *const u8, bytes: usize) -> isize;
    fn close(file: c_int) -> c_int;
    fn getppid() -> c_int;
    fn fork() -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn time(to: *mut i64) -> i64;
    fn _exit(code: c_int) -> !;
}

const ROW: u64 = 2000;
const SIGKILL: c_int = 9;
const SIGALRM: c_int = 14;
const SA_SIGINFO: c_int = 4;
const SA_RESTART: c_int = 0x1000_0000;
/// PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS
const BOTH: c_int = 3;
const SHARED: c_int = 0x21;
const GETPPID: u64 = 110;
/// sys/ucontext.h: where R13 is in a ucontext_t, in words
const SAVED_R13: usize = 5 + 5;
/// asm/vsyscall.h: where time(2) is, which is called and not entered
const VSYSCALL_TIME: usize = 0xffff_ffff_ff60_0400;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: c_int, _: *const c_void, context: *mut u64) {
    SIGNALS.fetch_add(1, SeqCst);
    // SAFETY: the kernel made the context and puts it back; `rows_of_calls` reads R13, nothing else minds.
    unsafe {
        if IS_CHANGED.load(SeqCst) == 1 {
            *context.add(SAVED_R13) += 1;
        }
        getppid();
    }
}

static IS_CHANGED: AtomicU32 = AtomicU32::new(0);

fn on_alarm(flags: c_int) {
    let action = Action { handler: count, mask: [0; 16], flags: SA_SIGINFO | flags, restorer: 0 };
    // SAFETY: the handler touches atomics and its own context.
    assert_eq!(unsafe { sigaction(SIGALRM, &raw const action, std::ptr::null_mut()) }, 0);
}

fn every_us(microseconds: i64) {
    let timers = Timers { interval: [0, microseconds], first: [0, microseconds] };
    // SAFETY: the timers are read.
    assert_eq!(unsafe { setitimer(0, &raw const timers, std::ptr::null_mut()) }, 0);
}

fn row() {
    for _ in 0..ROW {
        // SAFETY: it touches nothing.
        unsafe { getppid() };
    }
}

/// Registers and FP registers keep what is in them over `ROW` calls; returns what R13 became, which began as 0.
#[inline(never)]
fn rows_of_calls(seed: u64) -> u64 {
    let (mut r12, mut r13, mut r14, mut r15, mut fp) =
        (seed, 0u64, !seed, seed.rotate_left(32), f64::from_bits(seed >> 2));
    // SAFETY: getppid(2) touches no memory, and all registers that change are named.
    unsafe {
        asm!(
            "2:", "mov eax, {number}", "syscall", "dec {left}", "jnz 2b",
            number = const GETPPID, left = inout(reg) ROW => _,
            out("rax") _, out("rcx") _, out("r11") _,
            inout("r12") r12, inout("r13") r13, inout("r14") r14, inout("r15") r15, inout("xmm7") fp,
        );
    }
    assert_eq!((r12, r14, r15, fp.to_bits()), (seed, !seed, seed.rotate_left(32), seed >> 2));
    r13
}

fn signals() {
    on_alarm(SA_RESTART);
    IS_CHANGED.store(1, SeqCst);
    every_us(700);
    let (before, mut seen) = (SIGNALS.load(SeqCst), 0);
    for seed in 0..200 {
        seen += rows_of_calls(0x1234_5678_9abc_def0 + seed);
    }
    IS_CHANGED.store(0, SeqCst);
    every_us(0);
    let sent = SIGNALS.load(SeqCst) - before;
    assert!(sent > 20 && seen <= sent && seen + 150 >= sent, "{sent} signals, {seen} seen");
    println!("signals find and change the registers of a row of calls");
}

fn each_once() {
    on_alarm(SA_RESTART);
    let mut ends = [0; 2];
    // SAFETY: as the C library defines them; the child only writes and ends.
    let child = unsafe {
        assert_eq!(pipe(ends.as_mut_ptr()), 0);
        fork()
    };
    every_us(500);
    if child == 0 {
        for number in 0u64..60_000 {
            // SAFETY: the number is read.
            assert_eq!(unsafe { write(ends[1], number.to_ne_bytes().as_ptr(), 8) }, 8);
        }
        // SAFETY: nothing is left to be done.
        unsafe { _exit(0) }
    }
    // SAFETY: the child has the other one.
    unsafe { close(ends[1]) };
    let (mut expected, mut buffer) = (0u64, [0; 8]);
    // SAFETY: the buffer is written.
    while unsafe { read(ends[0], buffer.as_mut_ptr(), 8) } == 8 {
        assert_eq!(u64::from_ne_bytes(buffer), expected);
        expected += 1;
    }
    every_us(0);
    assert_eq!((expected, ended(child)), (60_000, 0));
    // SAFETY: the last one.
    unsafe { close(ends[0]) };
    println!("each call is made once, whatever interrupts it");
}

fn interrupted() {
    on_alarm(0);
    let mut ends = [0; 2];
    // SAFETY: as the C library defines them.
    unsafe { assert_eq!(pipe(ends.as_mut_ptr()), 0) };
    for _ in 0..20 {
        row();
        every_us(3000);
        // SAFETY: nothing comes, so nothing is written.
        let got = unsafe { read(ends[0], std::ptr::null_mut(), 1) };
        every_us(0);
        assert_eq!((got, std::io::Error::last_os_error().kind()), (-1, std::io::ErrorKind::Interrupted));
    }
    println!("a signal ends a call that waits");
}

fn threads() {
    let (mut here, mut there) = UnixStream::pair().expect("a pair");
    let other = std::thread::spawn(move || {
        let mut byte = [0];
        while there.read(&mut byte).expect("a byte") == 1 {
            rows_of_calls(u64::from(byte[0]) << 40);
            there.write_all(&byte).expect("to write");
        }
    });
    let busy = std::thread::spawn(|| {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(500) {
            rows_of_calls(0x0f0f_0f0f_0f0f);
        }
    });
    for round in 0..200 {
        here.write_all(&[round]).expect("to write");
        rows_of_calls(u64::from(round) << 20);
        let mut byte = [0];
        here.read_exact(&mut byte).expect("a byte");
        assert_eq!(byte[0], round);
    }
    drop(here);
    other.join().expect("the other thread");
    busy.join().expect("the busy thread");
    println!("threads keep their registers apart");
}

/// Old programs call an address for the time. Hosts that still answer do so in the guest.
fn vsyscalls() {
    // SAFETY: the child calls what is a function of this kind, or nothing and is ended for that.
    let child = unsafe { fork() };
    if child == 0 {
        let mut wrong = 0;
        for _ in 0..20 {
            row();
            // SAFETY: see above.
            let (old, new) = unsafe {
                let old: extern "C" fn(*mut i64) -> i64 = std::mem::transmute(VSYSCALL_TIME);
                (old(std::ptr::null_mut()), time(std::ptr::null_mut()))
            };
            // They may be read in two seconds, and it is the host's.
            wrong += c_int::from(!(new - 1..=new + 1).contains(&old));
        }
        // SAFETY: nothing is left to be done.
        unsafe { _exit(wrong) }
    }
    println!("vsyscalls end with {}", ended(child));
}

fn mappings() {
    for round in 0u8..200 {
        rows_of_calls(u64::from(round) << 8);
        // SAFETY: the mapping is used while it is there.
        unsafe {
            let page = mmap(std::ptr::null_mut(), 4096 * 4, BOTH, 0x22, -1, 0);
            page.add(4096).write_volatile(round);
            row();
            assert_eq!(page.add(4096).read_volatile(), round);
            assert_eq!(page.read_volatile(), 0);
            assert_eq!(munmap(page, 4096 * 4), 0);
        }
    }
    println!("mappings change between calls");
}

fn children() {
    for seed in 0..100 {
        row();
        // SAFETY: the child makes calls and ends.
        let child = unsafe { fork() };
        assert_eq!(rows_of_calls(seed << 12), 0);
        if child == 0 {
            // SAFETY: nothing is left to be done.
            unsafe { _exit(5) }
        }
        assert_eq!(ended(child), 5 << 8);
    }
    println!("children begin where they are made");
}

/// Who computes without a call is interrupted for others to run.
fn turns() {
    // SAFETY: both processes use the page as an atomic.
    let flag = unsafe { &*mmap(std::ptr::null_mut(), 4096, BOTH, SHARED, -1, 0).cast::<AtomicU32>() };
    for _ in 0..20 {
        flag.store(0, SeqCst);
        row();
        // SAFETY: the child makes calls and ends.
        let child = unsafe { fork() };
        if child == 0 {
            row();
            flag.store(1, SeqCst);
            // SAFETY: nothing is left to be done.
            unsafe { _exit(0) }
        }
        row();
        while flag.load(SeqCst) == 0 {
            std::hint::spin_loop();
        }
        assert_eq!(ended(child), 0);
    }
    println!("who computes leaves others their turn");
}

fn kills() {
    for _ in 0..20 {
        // SAFETY: the child only makes calls.
        let child = unsafe { fork() };
        if child == 0 {
            tracers::be_traced(1);
        }
        std::thread::sleep(Duration::from_millis(4));
        // SAFETY: it is our own child.
        unsafe { kill(child, SIGKILL) };
        assert_eq!(ended(child), SIGKILL);
    }
    println!("who makes calls can be killed");
}

fn ended(child: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: the status is written.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    status
}

fn main() {
    if std::env::args().any(|argument| argument == "kernel") {
        return kernel::try_calls();
    }
    signals();
    each_once();
    interrupted();
    threads();
    tracers::attached();
    tracers::filtered();
    vsyscalls();
    mappings();
    children();
    turns();
    kills();
}
