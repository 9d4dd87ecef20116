//! The first content of a new volume: what the image has where the volume is mounted, as with Docker.
//!
//! A copy of PID 1 does the work before anything is mounted in the container, so that the container's own
//! files are what it finds. PID 1 waits for it, and tells the host from time to time that it still does.

mod staging;

use std::ffi::c_void;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bulkhead_archive::tree::{Target, TreeError};
use bulkhead_guest_protocol::messages::{Failure, Mount, failure::Code};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, umask, waitid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

use crate::failure::{SetupError, failure};
use crate::mount_points;
use crate::mounts::{MountSource, PreparedMount};
use crate::process::clone;

/// Well within the time that the host gives a start.
const PROGRESS_INTERVAL: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// What the report of a failure begins with; numbers of mounts are smaller.
const FAILED: u32 = u32::MAX;
const NUMBER_BYTES: usize = size_of::<u32>();

/// A volume did not get its content.
#[derive(Debug, Error)]
enum ContentError {
    #[error("cannot enter the container")]
    Enter(#[source] Errno),
    #[error("cannot find {destination} in the image")]
    Find {
        destination: String,
        #[source]
        source: Errno,
    },
    #[error("cannot fill the new volume at {destination} with what the image has there")]
    Copy {
        destination: String,
        #[source]
        source: TreeError,
    },
    #[error("cannot fill the new volume at {destination}")]
    Volume {
        destination: String,
        #[source]
        source: Errno,
    },
}

/// Disks that held nothing yet when the container started.
#[derive(Debug, Default)]
pub(crate) struct EmptyVolumes(Vec<(u32, OwnedFd)>);

impl EmptyVolumes {
    /// Of the mounts whose content the host wants to hear of, those that are not known to hold something.
    pub(crate) fn of(mounts: &[Mount], prepared: &[PreparedMount], filled: &[u32]) -> Self {
        let open = |(number, (mount, prepared)): (u32, (&Mount, &PreparedMount))| match &prepared.source {
            MountSource::Tree(tree) if mount.tell_content && !filled.contains(&number) => {
                // Not told of, it is looked into by the next start.
                rustix::io::fcntl_dupfd_cloexec(tree, 3).ok().map(|tree| (number, tree))
            }
            _ => None,
        };
        Self((0..).zip(mounts.iter().zip(prepared)).filter_map(open).collect())
    }

    /// The numbers of those that hold something now. Lets go of them all.
    pub(crate) fn take_filled(&mut self) -> Vec<u32> {
        let volumes = std::mem::take(&mut self.0).into_iter();
        volumes.filter(|(_, tree)| staging::holds_content(tree)).map(|(number, _)| number).collect()
    }
}

/// A volume to be filled.
struct Volume<'a> {
    /// In the list of mounts.
    number: u32,
    destination: &'a str,
    tree: BorrowedFd<'a>,
    target: Target,
}

struct Plan<'a> {
    volumes: Vec<Volume<'a>>,
    mount_namespace: BorrowedFd<'a>,
    report: OwnedFd,
}

/// Fills the mounts that ask for it, as far as they are empty. Returns the numbers of those that hold something
/// now. `progress` is called while that takes long.
pub(crate) fn fill(
    mounts: &[Mount],
    prepared: &[PreparedMount],
    mount_namespace: &OwnedFd,
    mut progress: impl FnMut(),
) -> Result<Vec<u32>, Failure> {
    let volumes: Vec<Volume<'_>> = (0..).zip(mounts.iter().zip(prepared)).filter_map(volume).collect();
    if volumes.is_empty() {
        return Ok(Vec::new());
    }
    let step = |source| failure(Code::Setup, &SetupError { step: "start to fill the volumes", source });
    let (reader, report) = pipe_with(PipeFlags::CLOEXEC).map_err(step)?;
    let mut plan = Plan { volumes, mount_namespace: mount_namespace.as_fd(), report };
    // SAFETY: the child works on its own copy of the plan.
    let child = unsafe { clone::clone(0, None, None, main, (&raw mut plan).cast()) }.map_err(step)?;
    drop(plan);
    let mut reader = File::from(reader);
    let mut said = Vec::new();
    loop {
        let mut descriptors = [PollFd::new(&reader, PollFlags::IN)];
        match poll(&mut descriptors, Some(&PROGRESS_INTERVAL)) {
            Ok(0) => progress(),
            Err(Errno::INTR) => {}
            Err(source) => return Err(step(source)),
            Ok(_) => {
                let mut buffer = [0; 4096];
                match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => said.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(step(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
                }
            }
        }
    }
    let ended = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    let finished = matches!(ended, Ok(Some(status)) if status.exited());
    understand(&said, finished)
}

fn volume<'a>((number, (mount, prepared)): (u32, (&Mount, &'a PreparedMount))) -> Option<Volume<'a>> {
    let MountSource::Tree(tree) = &prepared.source else { return None };
    let target = if mount.r#type == "virtiofs" { Target::Plain } else { Target::Complete };
    let destination = prepared.destination.as_str();
    mount.fill.then(|| Volume { number, destination, tree: tree.as_fd(), target })
}

/// What the child said: numbers, and perhaps a text.
fn understand(mut said: &[u8], finished: bool) -> Result<Vec<u32>, Failure> {
    let mut filled = Vec::new();
    while let Some((number, rest)) = said.split_first_chunk::<NUMBER_BYTES>() {
        said = rest;
        match u32::from_le_bytes(*number) {
            FAILED => {
                let (code, text) = rest.split_first_chunk::<NUMBER_BYTES>().unwrap_or((&[0; 4], rest));
                let code = i32::from_le_bytes(*code);
                return Err(Failure { code, message: String::from_utf8_lossy(text).into_owned() });
            }
            number => filled.push(number),
        }
    }
    if finished {
        return Ok(filled);
    }
    let message = "the process that filled the new volumes was killed: memory may have run out";
    Err(Failure { code: Code::Setup.into(), message: message.to_owned() })
}

/// Entered by the child.
///
/// # Safety
/// `argument` points to a [`Plan`].
unsafe extern "C" fn main(argument: *mut c_void) -> ! {
    // SAFETY: as the caller promises.
    let plan = unsafe { &*argument.cast::<Plan<'_>>() };
    let mut report = Vec::new();
    if let Err(error) = run(plan, &mut report) {
        let Failure { code, message } = failure(Code::Setup, &error);
        report.extend(FAILED.to_le_bytes());
        report.extend(code.to_le_bytes());
        report.extend(message.as_bytes());
    }
    // SAFETY: the descriptor is the plan's, and is not closed by the borrow.
    let told = rustix::io::fcntl_dupfd_cloexec(&plan.report, 3)
        .map_err(std::io::Error::from)
        .and_then(|pipe| File::from(pipe).write_all(&report));
    // SAFETY: ends the process without running what belongs to PID 1.
    unsafe { libc::_exit(told.is_err().into()) }
}

fn run(plan: &Plan<'_>, report: &mut Vec<u8>) -> Result<(), ContentError> {
    move_into_link_name_space(plan.mount_namespace, Some(LinkNameSpaceType::Mount))
        .map_err(ContentError::Enter)?;
    // Modes are meant as the image has them.
    umask(Mode::empty());
    for volume in &plan.volumes {
        let destination = volume.destination;
        let source = match mount_points::open_with(destination.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)
        {
            Ok(source) => Some(source),
            // A file is refused by the mount itself.
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(source) => {
                return Err(ContentError::Find { destination: destination.to_owned(), source });
            }
        };
        let source = source.as_ref().map(AsFd::as_fd);
        if staging::fill(source, volume.tree, volume.target).map_err(|error| error.at(destination))? {
            report.extend(volume.number.to_le_bytes());
        }
    }
    Ok(())
}

impl staging::StagingError {
    fn at(self, destination: &str) -> ContentError {
        let destination = destination.to_owned();
        match self {
            Self::Tree(source) => ContentError::Copy { destination, source },
            Self::Volume(source) => ContentError::Volume { destination, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_numbers_and_perhaps_a_failure() {
        let numbers = [3_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
        assert_eq!(understand(&numbers, true).unwrap(), [3, 0]);
        let code = i32::from(Code::DamagedFileSystem).to_le_bytes();
        let failed = [&numbers[..], &FAILED.to_le_bytes(), &code, b"no room"].concat();
        let failure = understand(&failed, true).unwrap_err();
        assert_eq!((failure.code(), failure.message.as_str()), (Code::DamagedFileSystem, "no room"));
        assert!(understand(&numbers, false).unwrap_err().message.contains("killed"));
    }
}
