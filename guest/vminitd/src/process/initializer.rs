//! The minimal init that `Start.init` puts in front of process 0: it reaps what is orphaned in the
//! container and passes signals on. It is PID 1's own program and memory, copied by fork.

use std::ffi::c_void;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use super::child::{self, ChildError, Plan};
use super::clone::{self, Stack};

/// Entered by the child.
///
/// # Safety
/// As [`child::main`].
pub(crate) unsafe extern "C" fn main(argument: *mut c_void) -> ! {
    // SAFETY: as the caller promises.
    let plan = unsafe { &mut *argument.cast::<Plan<'_>>() };
    if let Err(error) = child::enter(plan) {
        child::fail(plan, &error);
    }
    let signals = block_signals();
    let started = Stack::new().and_then(|mut stack| {
        // SAFETY: the plan lives in this process's own memory until the child is done with it.
        unsafe { clone::clone(0, Some(&mut stack), None, process_main, argument) }
    });
    let child = match started {
        Ok(child) => child,
        Err(error) => child::fail(plan, &ChildError::Initializer(error)),
    };
    // Pipes must end with the process, and PID 1 waits for the end of the one that carries nothing.
    let _ = replace_stdio();
    // SAFETY: nothing in this process uses a descriptor from here on.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    reap(i32::try_from(child.pid).unwrap_or(0), &signals)
}

/// Entered by the process behind the init.
unsafe extern "C" fn process_main(argument: *mut c_void) -> ! {
    // SAFETY: as the caller promises.
    let plan = unsafe { &mut *argument.cast::<Plan<'_>>() };
    // The init blocks signals to wait for them; a program expects none to be blocked.
    // SAFETY: both sets are valid; the call changes only this process's mask.
    unsafe {
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
    }
    let error = child::become_process(plan);
    child::fail(plan, &error)
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: an all-zero sigset_t is valid memory for sigfillset to fill.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut signals);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const signals, std::ptr::null_mut());
        signals
    }
}

fn replace_stdio() -> Result<(), Errno> {
    let null = rustix::fs::open(c"/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

fn reap(process: i32, signals: &libc::sigset_t) -> ! {
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_pid() == process {
                let code = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    // A PID 1 cannot die of a signal that it sends itself; this is what shells say.
                    (None, signal) => 128 + signal.unwrap_or(0),
                };
                // SAFETY: ends the process, and with it the PID namespace.
                unsafe { libc::_exit(code) };
            }
        }
        // SAFETY: waits for one of the blocked signals; no information beyond its number is wanted.
        let signal = unsafe { libc::sigwaitinfo(signals, std::ptr::null_mut()) };
        if signal > 0 && signal != libc::SIGCHLD {
            // SAFETY: sends a signal to the one child that this process started.
            unsafe { libc::kill(process, signal) };
        }
    }
}

/// Tells PID 1 by its end that there is a process, or none.
#[derive(Debug)]
pub(crate) struct Readiness {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Readiness {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok(Self { reader, writer })
    }

    /// Returns when the init closed its copy of the pipe or died.
    pub(crate) fn wait(self) {
        drop(self.writer);
        // Any outcome but EINTR is the end of it.
        while rustix::io::read(&self.reader, &mut [0]) == Err(Errno::INTR) {}
    }
}
