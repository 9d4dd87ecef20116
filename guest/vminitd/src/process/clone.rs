//! clone3(2), which no library wraps.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// Stack of a child that shares PID 1's memory. Only touched pages cost anything.
const STACK_BYTES: usize = 256 * 1024;

/// linux/sched.h; libc's constant has too narrow a type.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Memory for the stack of one child at a time.
#[derive(Debug)]
pub(crate) struct Stack {
    memory: *mut c_void,
}

impl Stack {
    pub(crate) fn new() -> Result<Self, Errno> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                STACK_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        Ok(Self { memory })
    }
}

/// A new child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// `struct clone_args` of linux/sched.h up to CLONE_INTO_CGROUP.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What the child runs; it must not return.
pub(crate) type Main = unsafe extern "C" fn(*mut c_void) -> !;

/// Starts a child in the control group.
///
/// With a stack it shares the memory of the caller, who sleeps until the child executes a program or
/// exits: no page table is copied, which under UML would be a host process more. Without one it gets
/// a copy, like fork(2).
///
/// # Safety
/// `argument` must be what `main` expects and live until the child is done with it. A child that
/// shares memory must leave nothing behind that the caller does not expect, and `main` must not
/// unwind.
pub(crate) unsafe fn clone(
    namespaces: u64,
    stack: Option<&mut Stack>,
    cgroup: Option<BorrowedFd<'_>>,
    main: Main,
    argument: *mut c_void,
) -> Result<Child, Errno> {
    let mut pidfd: i32 = -1;
    let mut arguments = Arguments {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Arguments::default()
    };
    if let Some(stack) = stack {
        arguments.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
        arguments.stack = stack.memory as u64;
        arguments.stack_size = STACK_BYTES as u64;
    }
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments live on the caller's stack for the duration of the call; the child
    // leaves this function only into `main`.
    let result = unsafe { clone3(&arguments, main, argument) };
    if result < 0 {
        return Err(Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL)));
    }
    // SAFETY: the kernel stored a descriptor that belongs to nobody else.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: u32::try_from(result).unwrap_or(0), pidfd })
}

/// Returns the child's pid or a negative errno, in the parent only.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: &Arguments, main: Main, argument: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: the child finds `main` and its argument in registers, which clone3 copies, and begins on
    // a stack that is aligned as the ABI wants it before a call: the kernel gives the end of the
    // mapping, and the red zone of a copied stack is skipped.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "sub rsp, 128",
            "and rsp, -16",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<Arguments>(),
            in("r12") main,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Returns the child's pid or a negative errno, in the parent only.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: &Arguments, main: Main, argument: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: as on x86-64; the stack pointer is aligned to 16 bytes at all times here.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            inlateout("x0") arguments as *const Arguments as i64 => result,
            in("x1") size_of::<Arguments>(),
            in("x8") libc::SYS_clone3,
            in("x20") argument,
            in("x21") main,
            out("x30") _,
        );
    }
    result
}
