//! Folders and files of the host that the guest mounts: for each, a server in a process of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use bulkhead_paths::environment::RUNTIME_ROOT;
use bulkhead_runtime_control::{RuntimeSpecification, SharedFolder};
use bulkhead_subordinate_ids::{MapError, SubordinateIds};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::source;
use crate::text::sanitize;

/// Beside this helper.
const PROGRAM: &str = "container-virtiofs";
/// What the server calls a shared file; it knows it too.
const FILE_NAME: &str = "file";
/// Where the server finds its descriptors.
const LISTENER: i32 = 3;
const SHARED: i32 = 4;
/// By which it gets subordinate ids, if there are any.
const IDS: i32 = 5;
/// Above these.
const LIFTED: i32 = 10;
/// As much of its complaint as is told.
const MAXIMUM_COMPLAINT_BYTES: u64 = 4096;

/// The guest's name for the n-th folder.
pub(crate) fn tag(index: usize) -> String {
    format!("folder{index}")
}

/// What of the n-th folder's file system the guest is to mount; empty for all of it.
pub(crate) fn subpath(folder: &SharedFolder) -> &'static str {
    if folder.is_file { FILE_NAME } else { "" }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct FolderServer {
    path: PathBuf,
    child: Child,
    pidfd: OwnedFd,
    complaint: File,
    /// Maps subordinate ids for it, if there are any.
    mapping: Option<JoinHandle<Result<(), MapError>>>,
}

impl FolderServer {
    /// Becomes readable when the server has ended.
    pub(crate) fn end_descriptor(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until it has its ids.
    ///
    /// # Errors
    /// It gets none.
    pub(super) fn expect_ids(&mut self) -> Result<()> {
        let Some(mapping) = self.mapping.take() else { return Ok(()) };
        let outcome = mapping.join().unwrap_or(Ok(()));
        outcome.with_context(|| format!("cannot share '{}'", self.path.display()))
    }

    /// Reaps it, and says what it said.
    pub(crate) fn wait(mut self) -> String {
        let status = self.child.wait();
        let mut complaint = Vec::new();
        // Fails where another process still holds the pipe; what was read until then tells enough.
        let _ = (&mut self.complaint).take(MAXIMUM_COMPLAINT_BYTES).read_to_end(&mut complaint);
        let reason = match (status, String::from_utf8_lossy(&complaint).trim()) {
            (Ok(status), "") => status.to_string(),
            (Ok(_), complaint) => sanitize(complaint),
            (Err(error), _) => error.to_string(),
        };
        format!("the server of '{}' ended: {reason}", self.path.display())
    }
}

/// Without its machine, or when that has ended, there is nothing left for it to do.
impl Drop for FolderServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server for each folder; returns them with the machine's ends of their sockets.
pub(super) fn serve(specification: &RuntimeSpecification) -> Result<(Vec<FolderServer>, Vec<OwnedFd>)> {
    let folders = &specification.folders;
    let is_root = rustix::process::geteuid().is_root();
    // Without them there is one user; 'system status' says what is missing.
    let ids = if is_root || folders.is_empty() { None } else { SubordinateIds::of_this_user().ok() };
    let mut servers = Vec::with_capacity(folders.len());
    let mut sockets = Vec::with_capacity(folders.len());
    for (index, folder) in folders.iter().enumerate() {
        let started = start(index, folder, ids.as_ref(), specification);
        match started.with_context(|| format!("cannot share '{}'", folder.path.display())) {
            Ok((server, socket)) => {
                servers.push(server);
                sockets.push(socket);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((servers, sockets))
}

fn start(
    index: usize,
    folder: &SharedFolder,
    ids: Option<&SubordinateIds>,
    specification: &RuntimeSpecification,
) -> Result<(FolderServer, OwnedFd)> {
    let directory = &specification.runtime_directory;
    let shared = open(folder, &specification.folders)?;
    let (listener, socket) = socket(directory)?;
    let (answering, asking) = match ids {
        Some(ids) => {
            let (ours, theirs) = UnixStream::pair().context("cannot make a socket")?;
            (Some((ids.clone(), ours)), Some(OwnedFd::from(theirs)))
        }
        None => (None, None),
    };
    let program = std::env::current_exe().context("cannot find the server")?.with_file_name(PROGRAM);
    let mut words = vec![tag(index)];
    words.extend(folder.read_only.then(|| "--read-only".to_owned()));
    words.extend(folder.relaxed.then(|| "--relaxed".to_owned()));
    words.extend(asking.is_some().then(|| "--subordinate-ids".to_owned()));
    let passed = [(Some(listener), LISTENER), (Some(shared), SHARED), (asking, IDS)];
    let lifted: Vec<(OwnedFd, i32)> = passed
        .into_iter()
        .filter_map(|(descriptor, number)| Some((descriptor?, number)))
        .map(|(descriptor, number)| Ok((rustix::io::fcntl_dupfd_cloexec(descriptor, LIFTED)?, number)))
        .collect::<Result<_, rustix::io::Errno>>()
        .context("cannot copy a descriptor")?;
    let raw: Vec<(i32, i32)> =
        lifted.iter().map(|(descriptor, number)| (descriptor.as_raw_fd(), *number)).collect();
    let mut command = Command::new(&program);
    command
        .args(words.iter().map(OsStr::new))
        .env_clear()
        // So that whoever looks at processes sees whose it is.
        .envs(std::env::var_os(RUNTIME_ROOT).map(|value| (RUNTIME_ROOT, value)))
        // Where it mounts its new root, which nobody else sees.
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // SAFETY: between fork and exec this makes system calls only.
    unsafe {
        command.pre_exec(move || {
            for (from, to) in &raw {
                if libc::dup2(*from, *to) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
    let mut child = command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
    // The server's end is its own alone, so that each hears of the other's death.
    drop(lifted);
    let id = child.id();
    // Its machine is started meanwhile. Without a thread the server hears of no ids, and says so.
    let mapping = answering.and_then(|(ids, stream)| {
        std::thread::Builder::new().name("ids".to_owned()).spawn(move || ids.answer(stream, id)).ok()
    });
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = pid.context("a process without id").and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
    match (pidfd, child.stderr.take()) {
        (Ok(pidfd), Some(complaint)) => {
            let complaint = File::from(OwnedFd::from(complaint));
            let server = FolderServer { path: folder.path.clone(), child, pidfd, complaint, mapping };
            rustix::fs::fcntl_setfl(&server.complaint, OFlags::NONBLOCK)
                .context("cannot watch the server")?;
            Ok((server, socket))
        }
        (pidfd, _) => {
            // It has no machine and never will.
            let _ = child.kill();
            let _ = child.wait();
            pidfd.context("cannot watch the server").and_then(|_| bail!("the server has no stderr"))
        }
    }
}

/// What is shared is looked up once: whatever becomes of the path, this is what the guest gets.
fn open(folder: &SharedFolder, all: &[SharedFolder]) -> Result<OwnedFd> {
    let file = File::from(source::look_up(&folder.path, all)?.file);
    let kind = file.metadata().context("it cannot be examined")?.file_type();
    ensure!(
        kind.is_dir() || kind.is_file(),
        "it is {}",
        if kind.is_socket() { "a socket" } else { "neither a directory nor a regular file" }
    );
    ensure!(kind.is_file() == folder.is_file, "it has just been replaced");
    Ok(file.into())
}

/// A listening socket and its only client. Its name is gone before anybody else can use it.
fn socket(directory: &Path) -> Result<(OwnedFd, OwnedFd)> {
    let path = directory.join("folder.sock");
    let made = UnixListener::bind(&path).and_then(|listener| {
        let client = UnixStream::connect(&path);
        std::fs::remove_file(&path)?;
        Ok((listener.into(), client?.into()))
    });
    made.with_context(|| format!("cannot make the socket '{}'", path.display()))
}
