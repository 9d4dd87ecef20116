//! From clone3 to execve. Until the latter the child shares PID 1's memory, while PID 1 sleeps; what
//! it allocates it must free, and what it changes PID 1 sees.

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_guest_protocol::messages::{Process, ResourceLimit, failure::Code};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{fchdir, ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::thread::{
    ThreadNameSpaceType, move_into_thread_name_spaces, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use thiserror::Error;

use super::command::Command;
use super::container::{self, ContainerError, ContainerPlan};
use super::executable::{self, ExecutableError};
use super::report::Report;
use super::stdio::ChildStdio;
use crate::mount_points::{self, Kind};
use crate::resource_limits::{self, LimitError};
use crate::user::{self, Identity, UserError};
use crate::{capabilities, scheduling};

/// Why a child did not come to execve.
#[derive(Debug, Error)]
pub(crate) enum ChildError {
    #[error(transparent)]
    Container(ContainerError),
    #[error("cannot join the container")]
    Join(#[source] Errno),
    #[error("cannot set the scheduling policy")]
    Scheduling(#[source] Errno),
    #[error("cannot set up standard input and output")]
    Stdio(#[source] Errno),
    #[error("cannot use working directory {path:?}")]
    WorkingDirectory {
        path: String,
        #[source]
        source: Errno,
    },
    #[error("working directory {path:?} is not absolute")]
    RelativeWorkingDirectory { path: String },
    #[error(transparent)]
    Limit(LimitError),
    #[error(transparent)]
    User(UserError),
    #[error("cannot {step}")]
    Credentials {
        step: &'static str,
        #[source]
        source: Errno,
    },
    #[error("cannot start the container's init")]
    Initializer(#[source] Errno),
    #[error(transparent)]
    Executable(ExecutableError),
}

impl ChildError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Executable(error) => error.code(),
            Self::User(UserError::Range { .. }) | Self::RelativeWorkingDirectory { .. } => {
                Code::InvalidArgument
            }
            Self::User(UserError::NoUser { .. } | UserError::NoGroup { .. }) => Code::UserNotFound,
            _ => Code::Setup,
        }
    }
}

/// Whose namespaces the child gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Surroundings<'a> {
    /// Those of a container that it makes.
    New(&'a ContainerPlan),
    /// Those of process 0.
    Of(BorrowedFd<'a>),
}

/// What the child needs; PID 1 owns all of it.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) surroundings: Surroundings<'a>,
    pub(crate) process: &'a Process,
    pub(crate) stdio: &'a ChildStdio,
    pub(crate) command: Command,
    /// The process's, as [`resource_limits::resolve`] returned them.
    pub(crate) limits: Vec<ResourceLimit>,
    /// Capabilities that PID 1's own bounding set still has.
    pub(crate) bounding_set: u64,
    pub(crate) report: *mut Report,
}

/// Entered by the child.
///
/// # Safety
/// `argument` points to a [`Plan`] that nobody else uses meanwhile.
pub(crate) unsafe extern "C" fn main(argument: *mut c_void) -> ! {
    // SAFETY: as the caller promises.
    let plan = unsafe { &mut *argument.cast::<Plan<'_>>() };
    let error = match enter(plan) {
        Ok(()) => become_process(plan),
        Err(error) => error,
    };
    fail(plan, &error)
}

/// Tells PID 1 and ends the child.
pub(crate) fn fail(plan: &Plan<'_>, error: &ChildError) -> ! {
    // SAFETY: the report outlives the child and PID 1 reads it only after the child's end.
    unsafe { (*plan.report).fail(error.code(), error) };
    // SAFETY: ends the process without running what belongs to PID 1.
    unsafe { libc::_exit(127) }
}

/// Enters the namespaces; makes them what they should be for process 0.
pub(crate) fn enter(plan: &Plan<'_>) -> Result<(), ChildError> {
    match plan.surroundings {
        Surroundings::New(container) => container::set_up(container).map_err(ChildError::Container),
        Surroundings::Of(pidfd) => {
            let namespaces = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::CONTROL_GROUP;
            move_into_thread_name_spaces(pidfd, namespaces).map_err(ChildError::Join)
        }
    }
}

/// Returns only why there is no new program.
pub(crate) fn become_process(plan: &mut Plan<'_>) -> ChildError {
    match prepare(plan) {
        Ok(()) => ChildError::Executable(executable::execute(&mut plan.command)),
        Err(error) => error,
    }
}

/// In the order of runc's finalizeNamespace: what needs root first, the ids last.
fn prepare(plan: &mut Plan<'_>) -> Result<(), ChildError> {
    let process = plan.process;
    scheduling::be_usual().map_err(ChildError::Scheduling)?;
    setsid().map_err(ChildError::Stdio)?;
    set_up_stdio(plan).map_err(ChildError::Stdio)?;
    resource_limits::set(&plan.limits).map_err(ChildError::Limit)?;
    let (specification, groups) = process
        .user
        .as_ref()
        .map_or(("", &[][..]), |user| (user.specification.as_str(), &user.supplementary_group_names[..]));
    let identity = user::resolve(specification, groups).map_err(ChildError::User)?;
    if plan.command.variable(b"HOME").is_none_or(<[u8]>::is_empty) {
        plan.command.add_variable(b"HOME", &identity.home);
    }
    change_directory(plan)?;
    take_identity(plan, &identity).map_err(|(step, source)| ChildError::Credentials { step, source })
}

/// Root of the container may have put something else there; a FIFO would never open, and what is
/// opened here is given to the process's user.
fn open_null() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let null = openat(CWD, c"/dev/null", flags, Mode::empty())?;
    if is_null(&null)? { Ok(null) } else { Err(Errno::NXIO) }
}

/// Documentation/admin-guide/devices.txt: character device 1, 3.
fn is_null(descriptor: impl AsFd) -> Result<bool, Errno> {
    let status = fstat(descriptor)?;
    let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    Ok(is_device && status.st_rdev == makedev(1, 3))
}

fn set_up_stdio(plan: &Plan<'_>) -> Result<(), Errno> {
    match plan.stdio {
        ChildStdio::Pipes { stdin, stdout, stderr } => {
            match stdin {
                Some(stdin) => dup2_stdin(stdin)?,
                None => dup2_stdin(open_null()?)?,
            }
            dup2_stdout(stdout)?;
            dup2_stderr(stderr)
        }
        ChildStdio::Terminal { path } => {
            // By its path in the container, so that ttyname(3) finds it there.
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let terminal = openat(CWD, path.as_c_str(), flags, Mode::empty())?;
            dup2_stdin(&terminal)?;
            dup2_stdout(&terminal)?;
            dup2_stderr(&terminal)?;
            ioctl_tiocsctty(stdin())?;
            if matches!(plan.surroundings, Surroundings::New(_)) {
                mount(path.as_c_str(), c"/dev/console", c"", MountFlags::BIND, None)?;
            }
            Ok(())
        }
    }
}

/// After the root is the container's, and without magic links, so that an image cannot name one of
/// PID 1's descriptors as its working directory (CVE-2024-21626).
fn change_directory(plan: &Plan<'_>) -> Result<(), ChildError> {
    let path = match plan.process.working_directory.as_slice() {
        b"" => b"/",
        path => path,
    };
    let text = || String::from_utf8_lossy(path).into_owned();
    if !path.starts_with(b"/") {
        return Err(ChildError::RelativeWorkingDirectory { path: text() });
    }
    if path == b"/" {
        // setns(2) into the mount namespace went there.
        return Ok(());
    }
    let directory = match plan.surroundings {
        Surroundings::New(_) => mount_points::open_or_make(path, || Kind::Directory),
        Surroundings::Of(_) => mount_points::open_with(path, OFlags::PATH),
    };
    directory.and_then(fchdir).map_err(|source| ChildError::WorkingDirectory { path: text(), source })
}

fn take_identity(plan: &Plan<'_>, identity: &Identity) -> Result<(), (&'static str, Errno)> {
    let process = plan.process;
    let step = |step: &'static str| move |source| (step, source);
    let user_id = Uid::from_raw(identity.user_id);
    let group_id = Gid::from_raw(identity.group_id);
    capabilities::limit_bounding_set(plan.bounding_set, process.capabilities)
        .map_err(step("drop capabilities"))?;
    if identity.user_id != 0 {
        // open("/dev/stdout") asks for the rights of the pipe or terminal behind it.
        for descriptor in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            // Everybody's, and open to everybody as it is.
            if is_null(descriptor).map_err(step("look at standard input and output"))? {
                continue;
            }
            let flags = rustix::fs::AtFlags::EMPTY_PATH;
            match chownat(descriptor.as_fd(), c"", Some(user_id), None, flags) {
                // /dev/null of a read-only /dev.
                Ok(()) | Err(Errno::PERM | Errno::ROFS) => {}
                Err(error) => return Err(("pass on standard input and output", error)),
            }
        }
        capabilities::keep().map_err(step("keep capabilities"))?;
    }
    // With the primary group, or a process could shed it by setgid(2) and pass where the group is
    // denied (CVE-2022-36109).
    let mut groups = vec![group_id];
    let requested = process.user.iter().flat_map(|user| &user.supplementary_group_ids);
    for group_id in identity.supplementary_group_ids.iter().chain(requested) {
        let group_id = Gid::from_raw(*group_id);
        if !groups.contains(&group_id) {
            groups.push(group_id);
        }
    }
    set_thread_groups(&groups).map_err(step("set the supplementary groups"))?;
    if identity.group_id != 0 {
        set_thread_res_gid(group_id, group_id, group_id).map_err(step("set the group id"))?;
    }
    if identity.user_id != 0 {
        set_thread_res_uid(user_id, user_id, user_id).map_err(step("set the user id"))?;
    }
    capabilities::set(process.capabilities, plan.bounding_set).map_err(step("set capabilities"))?;
    if process.no_new_privileges {
        set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    }
    Ok(())
}
