//! What vminitd itself does with the container's files and processes.
//!
//! Each work has a process of its own: a copy of PID 1, in the container's mount namespace, so that its
//! root is the container's and no link leads out of it, but in no control group that could be frozen. A
//! hostile container holds up nobody but that process.

mod changes;
mod processes;

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bulkhead_archive::tar::{Reader, Writer};
use bulkhead_archive::tree::{
    ExtractOptions, Links, Placement, Scope, Skipped, Top, TreeError, extract, pack, pack_layer,
};
use bulkhead_guest_protocol::built_in::{FAILED, NOT_FOUND, REFUSED, SUCCESS};
use bulkhead_guest_protocol::frame::FrameError;
use bulkhead_guest_protocol::messages::failure::Code;
use bulkhead_guest_protocol::messages::{CoveredPath, ExtractArchive, PackTree, built_in::Work};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

use crate::failure::failure;
use crate::mounts::{MountError, PreparedMount};
use crate::process::clone::{self, Child};
use crate::process::container::ContainerError;
use crate::process::made_places::{self, MadePlaces};
use crate::process::stdio::ChildStdio;
use crate::process::stopped;
use crate::root_filesystem::Layers;

/// As much as the host moves at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// The work was not done.
#[derive(Debug, Error)]
enum BuiltInError {
    #[error("cannot enter the container")]
    Enter(#[source] Errno),
    #[error(transparent)]
    Mount(ContainerError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("cannot see the container's root without its mounts")]
    Root(#[source] Errno),
    #[error("cannot see the image without the container's changes")]
    Image(#[source] MountError),
    #[error("cannot read '{path}'")]
    Read {
        path: String,
        #[source]
        source: Errno,
    },
    #[error("cannot read the container's processes")]
    Processes(#[source] Errno),
    #[error("cannot mount proc")]
    Proc(#[source] MountError),
    #[error("cannot write the result")]
    Output(#[source] FrameError),
}

impl BuiltInError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Tree(error) if error.is_not_found() => NOT_FOUND,
            Self::Tree(error) if error.is_refusal() => REFUSED,
            _ => FAILED,
        }
    }
}

/// What the process needs; PID 1 owns all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) work: &'a Work,
    pub(crate) stdio: &'a ChildStdio,
    pub(crate) mount_namespace: &'a OwnedFd,
    pub(crate) layers: &'a Layers,
    pub(crate) inside: Inside<'a>,
}

/// What is still to be mounted: all that a container which does not run has not got yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inside<'a> {
    pub(crate) mounts: &'a [PreparedMount],
    /// Places of mounts that are not there.
    pub(crate) covered: &'a [CoveredPath],
}

/// Starts the work.
pub(crate) fn spawn(mut plan: Plan<'_>) -> Result<Child, Errno> {
    // SAFETY: the child works on its own copy of the plan.
    unsafe { clone::clone(0, None, None, main, (&raw mut plan).cast()) }
}

/// Entered by the child.
///
/// # Safety
/// `argument` points to a [`Plan`].
unsafe extern "C" fn main(argument: *mut c_void) -> ! {
    // SAFETY: as the caller promises.
    let plan = unsafe { &*argument.cast::<Plan<'_>>() };
    let code = match run(plan) {
        Ok(()) => SUCCESS,
        Err(error) => {
            tell(&failure(Code::Setup, &error).message);
            error.exit_code()
        }
    };
    // SAFETY: ends the process without running what belongs to PID 1.
    unsafe { libc::_exit(code.into()) }
}

fn run(plan: &Plan<'_>) -> Result<(), BuiltInError> {
    setsid().and_then(|_| set_up_stdio(plan.stdio)).map_err(BuiltInError::Enter)?;
    move_into_link_name_space(plan.mount_namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(BuiltInError::Enter)?;
    made_places::remove_left(&plan.layers.disk);
    let mut made = MadePlaces::on(&plan.layers.disk);
    let outcome = stopped::attach_all(plan.inside.mounts, plan.inside.covered, &mut made)
        .map_err(BuiltInError::Mount)
        .and_then(|()| work(plan));
    made.remove();
    outcome
}

fn work(plan: &Plan<'_>) -> Result<(), BuiltInError> {
    // For what is removed after the work.
    let disk = plan.layers.disk.as_raw_fd();
    if let Work::ListChanges(_) | Work::PackChanges(_) = plan.work {
        let image = plan.layers.mount_image().map_err(BuiltInError::Image)?;
        close_others(&[disk, plan.layers.upper.as_raw_fd(), image.as_raw_fd()]);
        return match plan.work {
            Work::PackChanges(_) => pack_changes(&plan.layers.upper, image),
            _ => changes::list(plan.layers.upper.as_fd(), image.as_fd(), &mut output()),
        };
    }
    close_others(&[disk]);
    match plan.work {
        Work::PackTree(request) => pack_tree(request),
        Work::ExtractArchive(request) => extract_archive(request),
        Work::Export(_) => export(),
        Work::ListProcesses(_) => processes::list(&mut output()),
        Work::ListChanges(_) | Work::PackChanges(_) | Work::FillVolumes(_) => Ok(()),
    }
}

fn set_up_stdio(stdio: &ChildStdio) -> Result<(), Errno> {
    let ChildStdio::Pipes { stdin, stdout, stderr } = stdio else { return Err(Errno::INVAL) };
    if let Some(stdin) = stdin {
        dup2_stdin(stdin)?;
    }
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)
}

/// Closes every descriptor of PID 1 but stdio and these: among them are the other ends of pipes, which
/// would never end.
fn close_others(kept: &[i32]) {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    let mut first = 3_u32;
    for descriptor in kept.into_iter().filter_map(|descriptor| u32::try_from(descriptor).ok()) {
        if descriptor > first {
            // SAFETY: whoever owns one of these never runs in this process, which leaves by _exit.
            unsafe { libc::close_range(first, descriptor - 1, 0) };
        }
        first = descriptor + 1;
    }
    // SAFETY: as above.
    unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
}

fn output() -> BufWriter<File> {
    // SAFETY: nothing else in this process uses the descriptor.
    BufWriter::with_capacity(BUFFER_BYTES, File::from(unsafe { rustix::stdio::take_stdout() }))
}

fn pack_tree(request: &PackTree) -> Result<(), BuiltInError> {
    let top = Top::find(&request.path, request.follow_link)?;
    let mut writer = Writer::new(output());
    pack(&top, &request.name, Scope::Everything, &mut writer, &mut note)?;
    writer.finish().map(drop).map_err(|error| TreeError::Output(error).into())
}

fn export() -> Result<(), BuiltInError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let root = open_tree(CWD, c"/", flags).map_err(BuiltInError::Root)?;
    let mut writer = Writer::new(output());
    pack(&Top::of_directory(root)?, b"", Scope::Contents, &mut writer, &mut note)?;
    writer.finish().map(drop).map_err(|error| TreeError::Output(error).into())
}

fn pack_changes(upper: &OwnedFd, image: OwnedFd) -> Result<(), BuiltInError> {
    let upper = rustix::io::fcntl_dupfd_cloexec(upper, 3).map_err(BuiltInError::Root)?;
    let is_made =
        |path: &[u8]| changes::MOUNT_POINTS.iter().any(|made| made.strip_prefix(b"/") == Some(path));
    let (upper, image) = (Top::of_directory(upper)?, Top::of_directory(image)?);
    let mut writer = Writer::new(output());
    pack_layer(&upper, &image, &is_made, &mut writer, &mut note)?;
    writer.finish().map(drop).map_err(|error| TreeError::Output(error).into())
}

fn extract_archive(request: &ExtractArchive) -> Result<(), BuiltInError> {
    // SAFETY: nothing else in this process uses the descriptor.
    let stdin = File::from(unsafe { rustix::stdio::take_stdin() });
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, stdin));
    let placement = if request.unpack {
        Placement::Unpack
    } else {
        Placement::Copy { source_name: &request.source_name, contents_only: request.contents_only }
    };
    let options = ExtractOptions {
        keep_owner: request.keep_owner,
        special_files: true,
        user_attributes_only: false,
        links: Links::FollowInside,
    };
    // The modes in the stream are meant as they are, and so are those of missing parents.
    rustix::process::umask(rustix::fs::Mode::empty());
    extract(&mut reader, &request.path, placement, options, &mut note)?;
    // What archivers pad their last record with: the sender is not to fail over it.
    let _ = io::copy(&mut reader.into_inner(), &mut io::sink());
    Ok(())
}

fn note(skipped: Skipped) {
    tell(&format!("left out '{}': {}", String::from_utf8_lossy(&skipped.path), skipped.reason));
}

/// One line on stderr.
fn tell(text: &str) {
    let line = text.replace('\n', " ") + "\n";
    // SAFETY: the descriptor is stderr's, and is not closed by the borrow.
    let mut stderr = std::mem::ManuallyDrop::new(File::from(unsafe { rustix::stdio::take_stderr() }));
    // Whoever closed it does not want to know.
    let _ = stderr.write_all(line.as_bytes());
}
