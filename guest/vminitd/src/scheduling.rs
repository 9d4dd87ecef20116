//! How PID 1 shares the only CPU of the guest.

use rustix::io::Errno;

/// Lets a process that writes its output in small pieces go on until the pipe is full or its time is
/// over, rather than being interrupted at each piece: a task under SCHED_BATCH does not preempt
/// whom it wakes up beside (sched(7)). Two switches between address spaces are the dearest thing that
/// a User-Mode Linux guest does. A guest that is otherwise idle answers as fast as before; a busy
/// one at the next tick.
pub(crate) fn yield_to_processes() {
    // Nothing depends on it: a kernel that refuses is slower, no more.
    let _ = set_policy(libc::SCHED_BATCH);
}

/// Gives a child that becomes a program the policy that programs expect; SCHED_RESET_ON_FORK would
/// do so for real-time policies only.
pub(crate) fn be_usual() -> Result<(), Errno> {
    set_policy(libc::SCHED_OTHER)
}

fn set_policy(policy: libc::c_int) -> Result<(), Errno> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure is valid for the read; 0 is this thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}
