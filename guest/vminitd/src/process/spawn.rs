//! Starting a process, seen from PID 1.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_guest_protocol::messages::{Failure, Process, failure::Code};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use thiserror::Error;

use super::child::{self, Plan, Surroundings};
use super::clone::{self, Child, Stack};
use super::command::{Command, CommandError};
use super::initializer::{self, Readiness};
use super::report::Report;
use super::stdio::ChildStdio;
use crate::failure::failure;
use crate::resource_limits::{self, LimitError};

/// Why there is no process.
#[derive(Debug, Error)]
pub(crate) enum SpawnError {
    #[error(transparent)]
    Command(CommandError),
    #[error(transparent)]
    Limit(LimitError),
    #[error("cannot prepare memory for a process")]
    Memory(#[source] Errno),
    #[error("cannot create a process")]
    Clone(#[source] Errno),
    #[error("{}", .0.message)]
    Child(Failure),
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Child(failure) => failure,
            SpawnError::Command(_) | SpawnError::Limit(LimitError::TooManyFiles { .. }) => {
                failure(Code::InvalidArgument, &error)
            }
            _ => failure(Code::Setup, &error),
        }
    }
}

/// How to start it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) surroundings: Surroundings<'a>,
    pub(crate) process: &'a Process,
    pub(crate) stdio: &'a ChildStdio,
    pub(crate) cgroup: BorrowedFd<'a>,
    pub(crate) bounding_set: u64,
}

/// Starts a process and returns when its program runs.
pub(crate) fn spawn(stack: &mut Stack, request: Request<'_>) -> Result<Child, SpawnError> {
    let mut report = Report::new();
    let mut plan = plan(request, &raw mut report)?;
    // SAFETY: plan and report outlive the call, during which this thread sleeps.
    let child = unsafe {
        clone_child(request, Some(stack), child::main, (&raw mut plan).cast()).map_err(SpawnError::Clone)?
    };
    finish(child, &report)
}

/// Starts the container's first process behind the minimal init.
pub(crate) fn spawn_with_initializer(request: Request<'_>) -> Result<Child, SpawnError> {
    let readiness = Readiness::new().map_err(SpawnError::Memory)?;
    let shared = SharedReport::new().map_err(SpawnError::Memory)?;
    let mut plan = plan(request, shared.0)?;
    // SAFETY: the child works on its own copy of the plan; the report is shared on purpose.
    let child = unsafe {
        clone_child(request, None, initializer::main, (&raw mut plan).cast()).map_err(SpawnError::Clone)?
    };
    readiness.wait();
    // SAFETY: the mapping lives, and the child has written what it will write.
    finish(child, unsafe { &*shared.0 })
}

fn plan<'a>(request: Request<'a>, report: *mut Report) -> Result<Plan<'a>, SpawnError> {
    let process = request.process;
    let command = Command::new(&process.arguments, &process.environment).map_err(SpawnError::Command)?;
    let limits = resource_limits::resolve(&process.rlimits).map_err(SpawnError::Limit)?;
    Ok(Plan {
        surroundings: request.surroundings,
        process,
        stdio: request.stdio,
        command,
        limits,
        bounding_set: request.bounding_set,
        report,
    })
}

unsafe fn clone_child(
    request: Request<'_>,
    mut stack: Option<&mut Stack>,
    main: clone::Main,
    argument: *mut std::ffi::c_void,
) -> Result<Child, Errno> {
    let namespaces = match request.surroundings {
        Surroundings::New(_) => libc::CLONE_NEWPID as u64,
        Surroundings::Of(_) => 0,
    };
    // SAFETY: as the caller promises.
    match unsafe { clone::clone(namespaces, stack.as_deref_mut(), Some(request.cgroup), main, argument) } {
        // A systemd in the container hands its controllers on; its group then takes no process
        // (cgroup-v2.rst, "No Internal Process Constraint"), and neither would Docker find a place.
        Err(Errno::BUSY) => {
            // SAFETY: as above; the failed call started no child.
            unsafe { clone::clone(namespaces, stack, None, main, argument) }
        }
        result => result,
    }
}

fn finish(child: Child, report: &Report) -> Result<Child, SpawnError> {
    match report.failure() {
        None => Ok(child),
        Some(failure) => {
            // It has exited or is about to; there is nothing to learn from its status.
            let _ = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
            Err(SpawnError::Child(failure))
        }
    }
}

/// A report in memory that fork(2) shares instead of copying.
#[derive(Debug)]
struct SharedReport(*mut Report);

impl SharedReport {
    fn new() -> Result<Self, Errno> {
        // SAFETY: a new mapping at an address that the kernel chooses; its zeros are an empty report.
        let memory = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Report>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )
        }?;
        Ok(Self(memory.cast()))
    }
}

impl Drop for SharedReport {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; no reference to it is left. Failing would only leak it.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Report>()) };
    }
}

/// Enters the PID namespace of the container with all future children.
pub(crate) fn adopt_pid_namespace(pidfd: &OwnedFd) -> Result<(), Errno> {
    use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
    move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
}
