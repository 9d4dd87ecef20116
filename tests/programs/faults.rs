//! Provokes page faults of many kinds and prints what a program sees of them: the same lines on any Linux.

use std::ffi::{c_int, c_void};
use std::io::Write;
use std::os::fd::AsRawFd;

type Handler = extern "C" fn(c_int, *const SignalInformation, *const u8);

/// As the C library has it on x86-64.
#[repr(C)]
struct Action {
    handler: Handler,
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

#[repr(C)]
struct SignalInformation {
    signal: c_int,
    error: c_int,
    code: c_int,
    padding: c_int,
    address: usize,
}

unsafe extern "C" {
    fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int;
    fn mmap(at: *mut c_void, bytes: usize, rights: c_int, flags: c_int, file: c_int, offset: i64) -> *mut u8;
    fn mprotect(at: *mut u8, bytes: usize, rights: c_int) -> c_int;
    fn munmap(at: *mut u8, bytes: usize) -> c_int;
    fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(code: c_int) -> !;
}

const PAGE: usize = 4096;
const PAGES: usize = 64;
const SIGSEGV: c_int = 11;
const SA_SIGINFO: c_int = 4;
const NONE: c_int = 0;
const READ: c_int = 1;
const WRITE: c_int = 2;
const SHARED: c_int = 1;
const PRIVATE: c_int = 2;
const ANONYMOUS: c_int = 0x20;
/// Of the error code within ucontext_t, which the processor defines.
const ERROR_CODE_OFFSET: usize = 192;

static mut EXPECTED_ADDRESS: usize = 0;

extern "C" fn report(_: c_int, information: *const SignalInformation, context: *const u8) {
    // SAFETY: the kernel fills both; nobody writes the address meanwhile.
    unsafe {
        let is_there = (*information).address == EXPECTED_ADDRESS;
        let was_written = *context.add(ERROR_CODE_OFFSET).cast::<u64>() & 2 != 0;
        _exit((*information).code & 3 | c_int::from(is_there) << 2 | c_int::from(was_written) << 3);
    }
}

fn map(rights: c_int, flags: c_int, file: Option<&std::fs::File>) -> *mut u8 {
    let (file, flags) = file.map_or((-1, flags | ANONYMOUS), |file| (file.as_raw_fd(), flags));
    // SAFETY: a new mapping.
    let at = unsafe { mmap(std::ptr::null_mut(), PAGES * PAGE, rights, flags, file, 0) };
    assert_ne!(at.addr(), usize::MAX, "mmap");
    at
}

/// What a child ends with that does this.
fn in_child(work: impl FnOnce()) -> c_int {
    std::io::stdout().flush().unwrap();
    let mut status = 0;
    // SAFETY: one thread.
    unsafe {
        let child = fork();
        if child == 0 {
            work();
            _exit(77);
        }
        assert_eq!(waitpid(child, &raw mut status, 0), child);
    }
    status >> 8
}

fn fault(name: &str, at: *mut u8, work: impl FnOnce(*mut u8)) {
    let code = in_child(|| {
        let action = Action { handler: report, mask: [0; 16], flags: SA_SIGINFO, restorer: 0 };
        // SAFETY: one thread; the handler ends the process.
        unsafe {
            EXPECTED_ADDRESS = at.addr();
            assert_eq!(sigaction(SIGSEGV, &raw const action, std::ptr::null_mut()), 0);
        }
        work(at);
    });
    let (kind, is_there, was_written) = (code & 3, code & 4 != 0, code & 8 != 0);
    println!("{name}: code {kind}, address {is_there}, write {was_written}");
}

fn read(at: *mut u8) {
    // SAFETY: it may fault, which is the purpose.
    unsafe { at.read_volatile() };
}

fn write(at: *mut u8) {
    // SAFETY: as above.
    unsafe { at.write_volatile(1) };
}

fn execute(at: *mut u8) {
    // SAFETY: as above.
    let function: extern "C" fn() = unsafe { std::mem::transmute(at) };
    function();
}

fn protect(at: *mut u8, rights: c_int) {
    // SAFETY: a mapping of ours.
    assert_eq!(unsafe { mprotect(at, PAGES * PAGE, rights) }, 0);
}

fn refused(file: &std::fs::File) {
    let gone = map(READ, PRIVATE, None);
    // SAFETY: nobody uses it.
    unsafe { munmap(gone, PAGES * PAGE) };
    fault("nothing is there, read", gone, read);
    fault("nothing is there, written", gone, write);
    for (name, file) in [("memory", None), ("file", Some(file))] {
        for (touched, touch) in [("untouched", false), ("touched", true)] {
            let made = |rights: c_int| {
                let at = map(READ | WRITE, PRIVATE, file);
                if touch {
                    write(at);
                }
                protect(at, rights);
                at
            };
            fault(&format!("{name}, {touched}, no rights, read"), made(NONE), read);
            fault(&format!("{name}, {touched}, no rights, written"), made(NONE), write);
            fault(&format!("{name}, {touched}, read-only, written"), made(READ), write);
            fault(&format!("{name}, {touched}, not executable"), made(READ | WRITE), execute);
        }
    }
    // A return, should they be executed after all.
    static CONSTANT: [u8; 64] = [0xc3; 64];
    let mut local = [0xc3_u8; 64];
    fault("heap, not executable", Box::leak(Box::new([0xc3_u8; 64])).as_mut_ptr(), execute);
    fault("stack, not executable", local.as_mut_ptr(), execute);
    fault("constants, not executable", CONSTANT.as_ptr().cast_mut(), execute);
    let shared = map(READ, SHARED, Some(file));
    fault("shared file, untouched, written", shared, write);
    read(shared);
    fault("shared file, touched, written", shared, write);
}

fn sum(at: *const u8) -> f64 {
    // Many registers are alive over each fault.
    let mut sums = [0.0_f64; 16];
    for page in 0..PAGES {
        for (index, sum) in sums.iter_mut().enumerate() {
            // SAFETY: within the mapping.
            *sum = sum.mul_add(1.0, f64::from(unsafe { at.add(page * PAGE + index).read_volatile() }));
        }
    }
    sums.iter().sum()
}

fn granted(file: &std::fs::File) {
    println!("sum {}", sum(map(READ, SHARED, Some(file))));
    let private = map(READ | WRITE, PRIVATE, Some(file));
    let before = sum(private);
    for page in 0..PAGES {
        // SAFETY: within the mapping.
        unsafe { private.add(page * PAGE).write_volatile(0) };
    }
    println!("private {before} {}, file {}", sum(private), sum(map(READ, SHARED, Some(file))));
    let shared = map(READ | WRITE, SHARED, Some(file));
    for page in 0..PAGES / 2 {
        // SAFETY: within the mapping.
        unsafe {
            let byte = shared.add(page * PAGE);
            byte.write_volatile(byte.read_volatile() + 1);
        }
    }
    println!("shared {}", sum(map(READ, PRIVATE, Some(file))));

    let memory = map(READ | WRITE, PRIVATE, None);
    println!("memory {}", sum(memory));
    for page in 0..PAGES {
        // SAFETY: within the mapping.
        unsafe { memory.add(page * PAGE).write_volatile(2) };
    }
    let child = in_child(|| {
        for page in 0..PAGES {
            // SAFETY: within the mapping.
            unsafe { memory.add(page * PAGE).write_volatile(u8::try_from(page % 2).unwrap()) };
        }
        // SAFETY: the end.
        unsafe { _exit(sum(memory) as c_int) };
    });
    println!("child {child}, parent {}", sum(memory));
    protect(memory, READ);
    protect(memory, READ | WRITE);
    write(memory);
    println!("protected and back {}", sum(memory));
}

fn main() {
    let path = std::env::temp_dir().join(format!("faults-{}", std::process::id()));
    let bytes: Vec<u8> = (0..PAGES * PAGE).map(|index| (index / PAGE + index % 7) as u8).collect();
    std::fs::write(&path, bytes).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    refused(&file);
    granted(&file);
}
