//! Starts helpers: own session, nothing inherited but a socket at descriptor 3.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use bulkhead_runtime_control::INHERITED_CONTROL_DESCRIPTOR;
use tokio::process::{Child, Command};

/// What helpers said before they had a log, or after they had lost it.
const MAXIMUM_LAST_WORDS_BYTES: u64 = 1 << 20;

/// Keeps descriptor 3 taken in this process for good. Otherwise the pipe by which the standard library
/// learns of a failed exec could get that number, and a helper's socket would be put in its place.
pub(crate) fn reserve_descriptors() -> io::Result<()> {
    loop {
        let null = ManuallyDrop::new(File::open("/dev/null")?);
        if null.as_raw_fd() > INHERITED_CONTROL_DESCRIPTOR {
            drop(ManuallyDrop::into_inner(null));
            return Ok(());
        }
    }
}

/// Starts `program` with one end of a socket pair at descriptor 3; returns the other end.
///
/// Its stderr goes to `log`, for what it says before it opens a log of its own.
pub(crate) fn helper(
    program: &Path,
    environment: &[(&'static str, OsString)],
    log: &Path,
) -> io::Result<(Child, tokio::net::UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let stderr = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    // One that does not start is started again and again, and says the same each time.
    if stderr.metadata()?.len() > MAXIMUM_LAST_WORDS_BYTES {
        stderr.set_len(0)?;
    }
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .envs(
            ["PATH", bulkhead_paths::environment::LOG]
                .iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (*name, value))),
        )
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(false);
    // SAFETY: between fork and exec only system calls are made (setsid, dup2, fcntl); nothing is
    // allocated and no lock is taken.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if theirs.as_raw_fd() == INHERITED_CONTROL_DESCRIPTOR {
                rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
            } else {
                // Not owned: whatever descriptor 3 was in the parent, it is ours to replace here.
                let mut third = ManuallyDrop::new(OwnedFd::from_raw_fd(INHERITED_CONTROL_DESCRIPTOR));
                rustix::io::dup2(&theirs, &mut third)?;
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    Ok((child, tokio::net::UnixStream::from_std(ours)?))
}
