//! What the child does between clone and exec: system calls, one after the other, on memory that was
//! prepared before. No allocation, no lock, no panic.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong};
use std::ptr;

use super::plan::Plan;
use super::step::Step;

const ROOT_OPTIONS: &CStr = c"size=64k,nr_inodes=16,mode=0555";
/// The guest is to die before whoever serves it.
const OOM_SCORE_ADJUSTMENT: &CStr = c"300";
/// Every bit of linux/securebits.h but KEEP_CAPS itself, all locked: no user id, not even 0, carries
/// or gains a capability any more.
const SECURE_BITS: c_ulong = 0b1110_1111;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Either a result or the step that failed with errno set.
type Outcome = Result<(), Step>;

/// Becomes the jailed program, or reports and exits.
pub(super) fn run(plan: &Plan) -> ! {
    let failed = match become_jailed(plan) {
        Ok(()) => {
            execute(plan);
            Step::Execute
        }
        Err(step) => step,
    };
    report(plan, failed)
}

fn become_jailed(plan: &Plan) -> Outcome {
    let report_target = place_descriptors(plan)?;
    if !plan.as_root {
        map_user(plan)?;
    }
    write_file(c"/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT, Step::PreferForOutOfMemoryKiller)?;
    build_root(plan)?;
    enter_root()?;
    drop_rights(plan)?;
    limit_resources(plan)?;
    reset_signals()?;
    // SAFETY: takes a number.
    check(unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as c_ulong) }, Step::SetPersonality)?;
    // SAFETY: no arguments. Fails only for a group leader, which a new process is not.
    unsafe { libc::setsid() };
    die_with_parent(report_target)
}

fn check(result: c_int, step: Step) -> Outcome {
    if result < 0 { Err(step) } else { Ok(()) }
}

/// Descriptor n becomes entry n of the plan; the program's and the pipe's stay above, close-on-exec;
/// everything else is closed.
fn place_descriptors(plan: &Plan) -> Result<c_int, Step> {
    let step = Step::PlaceDescriptors;
    let mut number: c_int = 0;
    for descriptor in &plan.descriptors {
        // SAFETY: descriptor numbers only; targets lie below every source.
        check(unsafe { libc::dup2(*descriptor, number) }, step)?;
        number += 1;
    }
    let (executable, report) = (plan.executable, plan.report);
    let (lower, upper) = if executable < report { (executable, report) } else { (report, executable) };
    close_range(number, lower - 1, step)?;
    close_range(lower + 1, upper - 1, step)?;
    close_range(upper + 1, c_int::MAX, step)?;
    Ok(report)
}

fn close_range(first: c_int, last: c_int, step: Step) -> Outcome {
    if first > last {
        return Ok(());
    }
    // SAFETY: closes descriptors of this process, whose copies of the parent's objects go unused.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first as c_uint, last as c_uint, 0) };
    if result < 0 { Err(step) } else { Ok(()) }
}

/// user_namespaces(7): a group map needs setgroups to be denied first.
fn map_user(plan: &Plan) -> Outcome {
    write_file(c"/proc/self/setgroups", c"deny", Step::MapUser)?;
    write_file(c"/proc/self/gid_map", &plan.group_map, Step::MapUser)?;
    write_file(c"/proc/self/uid_map", &plan.user_map, Step::MapUser)
}

fn write_file(path: &CStr, contents: &CStr, step: Step) -> Outcome {
    // SAFETY: both strings are NUL-terminated and live; the descriptor is closed right after.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(file, step)?;
        let written = libc::write(file, contents.as_ptr().cast(), contents.count_bytes());
        libc::close(file);
        if written < 0 { Err(step) } else { Ok(()) }
    }
}

/// A tmpfs on the staging directory: `root/` will be all that the program sees.
fn build_root(plan: &Plan) -> Outcome {
    let locked = libc::MS_NOSUID | libc::MS_NODEV;
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None, Step::SeparateMounts)?;
    let staging = plan.staging_directory.as_c_str();
    let flags = locked | libc::MS_NOEXEC;
    mount(Some(c"none"), staging, Some(c"tmpfs"), flags, Some(ROOT_OPTIONS), Step::MountRoot)?;
    let step = Step::PopulateRoot;
    // SAFETY: NUL-terminated paths.
    unsafe {
        check(libc::chdir(staging.as_ptr()), step)?;
        libc::umask(0o022);
        check(libc::mkdir(c"root".as_ptr(), 0o555), step)?;
        check(libc::mkdir(c"root/scratch".as_ptr(), 0o555), step)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        let file = libc::open(plan.file_target.as_ptr(), flags, 0o444 as c_uint);
        check(file, step)?;
        libc::close(file);
    }
    let target = plan.file_target.as_c_str();
    mount(Some(&plan.file_source), target, None, libc::MS_BIND, None, Step::BindFile)?;
    let sealed = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | locked | libc::MS_NOEXEC;
    mount(None, target, None, sealed, None, Step::BindFile)?;
    // The monitor executes the guest's memory, so this one is not noexec.
    let scratch = |options: &CStr| {
        let kind = Some(c"tmpfs");
        mount(Some(c"none"), c"root/scratch", kind, locked, Some(options), Step::MountScratch)
    };
    // A kernel without transparent huge pages refuses the option.
    scratch(&plan.huge_scratch_options).or_else(|_| scratch(&plan.scratch_options))?;
    let sealed = libc::MS_REMOUNT | libc::MS_RDONLY | flags;
    mount(None, c".", None, sealed, None, Step::SealRoot)
}

fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: c_ulong,
    options: Option<&CStr>,
    step: Step,
) -> Outcome {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let (source, kind, options) = (pointer(source), pointer(kind), pointer(options));
    // SAFETY: each pointer is null or a NUL-terminated string that lives.
    check(unsafe { libc::mount(source, target.as_ptr(), kind, flags, options.cast()) }, step)
}

/// pivot_root(2), then a chroot one level deeper: the kernel lets no process in a chroot make user
/// namespaces (kernel/user_namespace.c, `current_chrooted`), so those are out of reach.
fn enter_root() -> Outcome {
    let step = Step::EnterRoot;
    // The working directory is the new root's top. Putting the old root on the same place and taking
    // it away needs no directory for it, pivot_root(2).
    // SAFETY: NUL-terminated paths.
    unsafe {
        let here: *const c_char = c".".as_ptr();
        if libc::syscall(libc::SYS_pivot_root, here, here) < 0 {
            return Err(step);
        }
        check(libc::umount2(here, libc::MNT_DETACH), step)?;
        check(libc::chroot(c"/root".as_ptr()), step)?;
        check(libc::chdir(c"/".as_ptr()), step)
    }
}

fn drop_rights(plan: &Plan) -> Outcome {
    let step = Step::DropCapabilities;
    prctl(libc::PR_SET_SECUREBITS, SECURE_BITS, step)?;
    for capability in 0..64 {
        // EINVAL ends the kernel's list.
        if prctl(libc::PR_CAPBSET_DROP, capability, step).is_err() {
            break;
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong, step)?;
    if plan.as_root {
        let id = plan.id;
        // SAFETY: numbers, and an empty list. By the raw system calls: glibc's functions would signal
        // the threads of which this process has a record and that it does not have.
        unsafe {
            let none = ptr::null::<libc::gid_t>();
            if libc::syscall(libc::SYS_setgroups, 0, none) < 0
                || libc::syscall(libc::SYS_setresgid, id, id, id) < 0
                || libc::syscall(libc::SYS_setresuid, id, id, id) < 0
            {
                return Err(Step::ChangeUser);
            }
        }
    }
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: version 3 reads one header and two data structures of three words each, capset(2).
    if unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } < 0 {
        return Err(step);
    }
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, step)
}

fn prctl(option: c_int, value: c_ulong, step: Step) -> Outcome {
    // SAFETY: none of the options used takes a pointer; unused arguments must be zero.
    check(unsafe { libc::prctl(option, value, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) }, step)
}

fn limit_resources(plan: &Plan) -> Outcome {
    for (resource, value) in &plan.limits {
        let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
        // SAFETY: the structure lives.
        check(unsafe { libc::setrlimit(*resource, &raw const limit) }, Step::LimitResources)?;
    }
    Ok(())
}

/// Ignored and blocked signals would be inherited by the program.
fn reset_signals() -> Outcome {
    // SAFETY: a zeroed sigaction is the default action with an empty mask; so is a zeroed sigset_t.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..32 {
            // SIGKILL and SIGSTOP refuse, and need no reset.
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }
        let none: libc::sigset_t = std::mem::zeroed();
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()), Step::ResetSignals)
    }
}

/// Last, because a change of user resets it. A parent that died before has closed the reading end of
/// the report pipe.
fn die_with_parent(report: c_int) -> Outcome {
    let step = Step::DieWithParent;
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, step)?;
    let mut descriptor = libc::pollfd { fd: report, events: 0, revents: 0 };
    // SAFETY: one structure that lives.
    let ready = unsafe { libc::poll(&raw mut descriptor, 1, 0) };
    if ready > 0 && descriptor.revents & libc::POLLERR != 0 { Err(step) } else { Ok(()) }
}

fn execute(plan: &Plan) {
    // SAFETY: both vectors end with a null pointer and live; the path is empty, so that the descriptor
    // itself is executed.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            plan.executable,
            c"".as_ptr(),
            plan.arguments.as_ptr(),
            plan.environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
}

fn report(plan: &Plan, step: Step) -> ! {
    // SAFETY: errno of this thread; a buffer that lives; _exit runs no handlers.
    unsafe {
        let [a, b, c, d] = (*libc::__errno_location()).to_ne_bytes();
        let bytes = [step as u8, a, b, c, d];
        libc::write(plan.report, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}
