//! Starts the apiserver and waits for its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_paths::{Directories, PathsError, environment};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::io::{Errno, FdFlags};
use rustix::pipe::PipeFlags;
use thiserror::Error;

use crate::failure::Failure;
use crate::output::message;

/// How long the apiserver may take until it serves; it re-adopts running containers before.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stopped apiserver may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that is read back from its log to say why it did not start.
const LOG_TAIL_BYTES: u64 = 4096;

/// Why the apiserver does not serve.
#[derive(Debug, Error)]
pub(crate) enum DaemonError {
    #[error("cannot prepare the directories of container services")]
    Directories(#[source] PathsError),
    #[error("cannot lock '{}'", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open '{}'", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot execute '{}'", path.display())]
    Spawn {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot wait for container services")]
    Wait(#[source] io::Error),
    #[error("container services ended while starting: {reason}")]
    Ended { reason: String },
    #[error("container services did not start within {} s", timeout.as_secs())]
    Timeout { timeout: Duration },
    #[error("container services did not end within {} s", END_TIMEOUT.as_secs())]
    Lingers,
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let code = match &error {
            DaemonError::Timeout { .. } | DaemonError::Lingers => ErrorCode::Timeout,
            _ => ErrorCode::InternalError,
        };
        let message = error.to_string();
        Self::Refused(match std::error::Error::source(&error) {
            Some(source) => ApiError::caused_by(code, message, source),
            None => ApiError::new(code, message),
        })
    }
}

/// Starts the apiserver unless it serves already; returns once it serves, and whether it was started.
pub(crate) fn start(directories: &Directories, timeout: Duration) -> Result<bool, DaemonError> {
    directories.create().map_err(DaemonError::Directories)?;
    let _turn = take_turn(directories)?;
    if UnixStream::connect(directories.api_socket()).is_ok() {
        return Ok(false);
    }
    message::line("starting container services");
    let log = directories.log_root.join("apiserver.stderr.log");
    let log_error = |source| DaemonError::Log { path: log.clone(), source };
    let mut stderr = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&log)
        .map_err(log_error)?;
    let before = stderr.seek(SeekFrom::End(0)).map_err(log_error)?;
    let (ready, notify) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| DaemonError::Wait(error.into()))?;
    spawn(directories, stderr, notify)?;
    if await_byte(&ready, timeout)? {
        Ok(true)
    } else {
        Err(DaemonError::Ended { reason: last_line(&log, before) })
    }
}

/// Waits until no apiserver holds the lock of the app root, which the kernel releases with its process.
pub(crate) fn await_end(directories: &Directories) -> Result<(), DaemonError> {
    let path = directories.api_lock();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DaemonError::Lock { path, source }),
    };
    let _turn = take_turn(directories)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more after the time-out; the thread ends with this process.
        let _ = sender.send(lock(&file, FlockOperation::LockShared));
    });
    match receiver.recv_timeout(END_TIMEOUT) {
        Ok(outcome) => outcome.map_err(|source| DaemonError::Lock { path, source }),
        Err(_) => Err(DaemonError::Lingers),
    }
}

/// One command at a time starts or stops the apiserver; the others then find it as they want it.
fn take_turn(directories: &Directories) -> Result<File, DaemonError> {
    let path = directories.runtime_root.join("start.lock");
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path);
    open.and_then(|file| lock(&file, FlockOperation::LockExclusive).map(|()| file))
        .map_err(|source| DaemonError::Lock { path, source })
}

fn lock(file: &File, operation: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// In a session of its own, so that neither Ctrl-C nor the end of the terminal reaches it.
fn spawn(directories: &Directories, stderr: File, notify: OwnedFd) -> Result<(), DaemonError> {
    let program = directories.helper("container-apiserver");
    let mut command = Command::new(&program);
    command
        .arg(format!("--ready-descriptor={}", notify.as_raw_fd()))
        .envs(directories.environment())
        .current_dir("/")
        // It goes with each command; a daemon would use it long after it was meant.
        .env_remove(environment::REGISTRY_TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    // SAFETY: between fork and exec only system calls are made; nothing is allocated, no lock is taken.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            // Whatever our caller left open must not live as long as a daemon; a kernel before 5.11
            // cannot mark a range and leaves it.
            libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed());
            rustix::io::fcntl_setfd(&notify, FdFlags::empty())?;
            Ok(())
        });
    }
    command.spawn().map(drop).map_err(|source| DaemonError::Spawn { path: program, source })
}

/// Whether a byte came before the other end was closed.
fn await_byte(ready: &OwnedFd, timeout: Duration) -> Result<bool, DaemonError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| DaemonError::Timeout { timeout })?;
        match rustix::event::poll(&mut [PollFd::new(ready, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(DaemonError::Timeout { timeout }),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(DaemonError::Wait(error.into())),
        }
    }
    let count = rustix::io::retry_on_intr(|| rustix::io::read(ready.as_fd(), &mut [0; 1]));
    Ok(count.map_err(|error| DaemonError::Wait(error.into()))? > 0)
}

/// Its last words.
fn last_line(log: &Path, from: u64) -> String {
    let words = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    match words.as_deref().unwrap_or_default().lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => line.to_owned(),
        None => format!("no reason in '{}'", log.display()),
    }
}
