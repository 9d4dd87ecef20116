//! System calls of a file server. Any other kills it, and with it its machine.

use std::io;

use libseccomp_sys::{
    SCMP_ACT_ALLOW, SCMP_ACT_KILL_PROCESS, seccomp_init, seccomp_load, seccomp_release, seccomp_rule_add,
};

/// By what they are for.
const ALLOWED: [&[libc::c_long]; 8] = [
    // Memory and threads.
    &[
        libc::SYS_brk,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_prctl,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
    ],
    // Time, chance and signals.
    &[
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_gettimeofday,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
        libc::SYS_tkill,
    ],
    // The machine and its queues.
    &[
        libc::SYS_accept4,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
    ],
    // To be the user of a request: virtiofsd, passthrough/credentials.rs.
    &[
        libc::SYS_capget,
        libc::SYS_capset,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_setgroups,
        libc::SYS_setresgid,
        libc::SYS_setresuid,
        libc::SYS_umask,
        libc::SYS_unshare,
    ],
    // Open files.
    &[
        libc::SYS_close,
        libc::SYS_copy_file_range,
        libc::SYS_dup,
        libc::SYS_fallocate,
        libc::SYS_fcntl,
        libc::SYS_fdatasync,
        libc::SYS_flock,
        libc::SYS_fsync,
        libc::SYS_ftruncate,
        libc::SYS_getdents64,
        libc::SYS_lseek,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_preadv2,
        libc::SYS_pwrite64,
        libc::SYS_pwritev,
        libc::SYS_pwritev2,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_syncfs,
        libc::SYS_write,
        libc::SYS_writev,
    ],
    // Names.
    &[
        libc::SYS_fchdir,
        libc::SYS_linkat,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_name_to_handle_at,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_readlinkat,
        libc::SYS_renameat2,
        libc::SYS_symlinkat,
        libc::SYS_unlinkat,
    ],
    // Attributes.
    &[
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_fgetxattr,
        libc::SYS_flistxattr,
        libc::SYS_fremovexattr,
        libc::SYS_fsetxattr,
        libc::SYS_fstat,
        libc::SYS_fstatfs,
        libc::SYS_getxattr,
        libc::SYS_listxattr,
        libc::SYS_newfstatat,
        libc::SYS_removexattr,
        libc::SYS_setxattr,
        libc::SYS_statx,
        libc::SYS_utimensat,
    ],
    // Events of the host.
    &[libc::SYS_fanotify_init, libc::SYS_fanotify_mark],
];

/// What only one architecture has.
#[cfg(target_arch = "x86_64")]
const ALSO_ALLOWED: [libc::c_long; 6] = [
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_open,
    libc::SYS_renameat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALSO_ALLOWED: [libc::c_long; 0] = [];

/// Forbids all others, for this thread and those that it starts.
pub(crate) fn restrict() -> io::Result<()> {
    // SAFETY: takes a number and makes a filter.
    let filter = unsafe { seccomp_init(SCMP_ACT_KILL_PROCESS) };
    if filter.is_null() {
        return Err(io::Error::other("there is no memory for a filter of system calls"));
    }
    let outcome = ALLOWED.into_iter().flatten().chain(&ALSO_ALLOWED).try_for_each(|call| {
        let call = i32::try_from(*call).map_err(io::Error::other)?;
        // SAFETY: the filter is one, and the rule has as many arguments as it says.
        done(unsafe { seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) })
    });
    // SAFETY: the filter is one.
    let outcome = outcome.and_then(|()| done(unsafe { seccomp_load(filter) }));
    // SAFETY: it is not used after that.
    unsafe { seccomp_release(filter) };
    outcome
}

/// As seccomp(3) answers.
fn done(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(()) }
}
