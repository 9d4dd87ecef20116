//! The parent's side: prepares, clones, learns how it went.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::plan::Plan;
use super::step::Step;
use super::{FIRST_PASSED_DESCRIPTOR, JailConfiguration, JailError, child, step};
use crate::VmmProcess;

/// Starts a process that builds a jail around itself and then executes the program; returns before it
/// does, see [`Report::read`].
pub(crate) fn spawn(mut configuration: JailConfiguration) -> Result<VmmProcess, JailError> {
    let (report_reader, report_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(descriptors)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(JailError::Descriptors)?;
    // Above every number in the jail, so that putting one in its place never overwrites another.
    let count = FIRST_PASSED_DESCRIPTOR + configuration.descriptors.len();
    let floor = i32::try_from(count).map_err(|_| descriptors(rustix::io::Errno::MFILE))? + 2;
    let lift =
        |descriptor: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(descriptor, floor).map_err(descriptors);
    let mut lifted = vec![lift(null.as_fd())?, lift(configuration.console.as_fd())?];
    lifted.push(lift(configuration.console.as_fd())?);
    for descriptor in &configuration.descriptors {
        lifted.push(lift(descriptor.as_fd())?);
    }
    let executable = lift(configuration.executable.as_fd())?;
    let report = lift(report_writer.as_fd())?;
    drop(report_writer);
    let raw: Vec<RawFd> = lifted.iter().map(AsRawFd::as_raw_fd).collect();
    let plan = Plan::new(&mut configuration, raw, executable.as_raw_fd(), report.as_raw_fd());
    let report = Report { reader: report_reader, executable: configuration.executable_path.clone() };
    clone_into(&plan, report).map_err(JailError::Clone)
}

fn descriptors(error: rustix::io::Errno) -> JailError {
    JailError::Descriptors(error.into())
}

fn clone_into(plan: &Plan, report: Report) -> io::Result<VmmProcess> {
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | if plan.as_root { 0 } else { libc::CLONE_NEWUSER };
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero bytes are a valid clone_args.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from((namespaces | libc::CLONE_PIDFD).cast_unsigned());
    arguments.pidfd = (&raw mut pidfd).addr() as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: without CLONE_VM the child has a copy of this thread's memory and stack. It calls nothing
    // but `child::run`, which makes only system calls and never returns.
    let pid = unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>());
        if pid == 0 {
            child::run(plan)
        }
        pid
    };
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: CLONE_PIDFD has stored a new descriptor, close-on-exec, which nobody else owns.
    Ok(VmmProcess::new(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }, report))
}

/// What the child will say.
#[derive(Debug)]
pub(crate) struct Report {
    /// Reading end of its pipe.
    reader: OwnedFd,
    /// The program, of which the child knows the descriptor alone.
    executable: PathBuf,
}

impl Report {
    /// Waits for the child's report: none when the program is executing, for that closed the pipe.
    pub(crate) fn read(self) -> Option<JailError> {
        let mut bytes = Vec::new();
        let read = File::from(self.reader).read_to_end(&mut bytes);
        let (number, source) = match (read, bytes.as_slice()) {
            (Ok(_), []) => return None,
            (Ok(_), [number, a, b, c, d]) => {
                (*number, io::Error::from_raw_os_error(i32::from_ne_bytes([*a, *b, *c, *d])))
            }
            _ => return Some(JailError::Vanished),
        };
        Some(if number == Step::Execute as u8 {
            JailError::Execute { path: self.executable, source }
        } else {
            JailError::Step { step: step::describe(number), source }
        })
    }
}
