//! What a daemon sets up before its first thread exists, the same for every container.

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bulkhead_daemon_log::BoundedFile;
use bulkhead_runtime_control::INHERITED_CONTROL_DESCRIPTOR;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What the guest provokes must not fill the host's disk; twice as much with the file before.
const MAXIMUM_LOG_BYTES: u64 = 1 << 20;

/// Prepares signals, limits and the allocator.
pub(crate) fn prepare() -> Result<()> {
    // SAFETY: takes numbers. One arena instead of one for each thread keeps the helper small.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // The guest's memory is mapped here and belongs in no core file.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("cannot turn off core files")?;
    for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGINT] {
        // SAFETY: SIG_IGN installs no handler.
        let previous = unsafe { libc::signal(signal, libc::SIG_IGN) };
        ensure!(previous != libc::SIG_ERR, "cannot ignore signal {signal}");
    }
    block_termination().context("cannot block SIGTERM")?;
    bulkhead_devices::install_sigbus_guard().context("cannot guard against lost guest memory")
}

/// Blocked in every thread, for the watcher takes it from a signalfd.
fn block_termination() -> io::Result<()> {
    let set = termination_set();
    // SAFETY: the set lives; no old set is wanted.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Readable when SIGTERM has arrived.
pub(crate) fn termination_descriptor() -> io::Result<OwnedFd> {
    let set = termination_set();
    // SAFETY: the set lives; the returned descriptor is new and nobody else's.
    unsafe {
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if descriptor < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(descriptor)) }
    }
}

fn termination_set() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the zeroed set; both calls take a valid pointer.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        set
    }
}

/// The socket at descriptor 3.
pub(crate) fn inherited_control() -> Result<UnixStream> {
    // SAFETY: the apiserver passes it and nothing else in this process owns that number; a call by
    // hand without it is found out by the next line.
    let descriptor = unsafe { OwnedFd::from_raw_fd(INHERITED_CONTROL_DESCRIPTOR) };
    let flags = rustix::io::FdFlags::CLOEXEC;
    if let Err(error) = rustix::io::fcntl_setfd(&descriptor, flags) {
        // Closing it again would be a double close.
        std::mem::forget(descriptor);
        return Err(error)
            .context("this program is started by container-apiserver, with a socket at descriptor 3");
    }
    let socket = UnixStream::from(descriptor);
    socket.set_nonblocking(false).context("cannot use the socket at descriptor 3")?;
    Ok(socket)
}

/// Logs to a file of the container from now on; without it, nowhere.
pub(crate) fn log_to(path: &Path) {
    let level = std::env::var(bulkhead_paths::environment::LOG)
        .ok()
        .and_then(|text| text.parse::<tracing::Level>().ok())
        .unwrap_or(tracing::Level::INFO);
    if let Ok(file) = BoundedFile::open(path, MAXIMUM_LOG_BYTES) {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_target(false)
            .with_writer(std::sync::Mutex::new(file));
        // Only a second call could fail.
        let _ = tracing::subscriber::set_global_default(subscriber.finish());
    }
}

/// Tells whoever reads stderr why the helper gave up.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "container-runtime-linux: {error:#}");
}
