//! Keeps the namespaces of an ordinary user alive when container-network dies: mounting them, as root
//! does it, would need a mount namespace that lives on. A process that does nothing else hands them to
//! whoever of the user connects to its socket, which is where root has its mount.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bulkhead_descriptor_passing::frame;
use rustix::net::sockopt::socket_peercred;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What such a process is called.
const NAME: &str = "container-network-holder";
/// The argument that makes this program a holder.
pub(crate) const ARGUMENT: &str = "--hold-namespaces";
/// Tells it that nobody needs them any more.
const END: u8 = b'e';
/// It has nothing else to do than to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What a holder holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) user: OwnedFd,
    pub(crate) network: OwnedFd,
}

/// Starts a holder with a new network namespace in the user namespace of this process.
pub(crate) fn start(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0(NAME).arg(ARGUMENT).current_dir("/");
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: setsid alone, between fork and exec.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
    command.spawn().map(drop)
}

/// Asks the holder at a path; `None` if there is none.
pub(crate) fn find(path: &Path) -> io::Result<Option<Held>> {
    let Some(stream) = connect(path)? else { return Ok(None) };
    receive(&stream).map(Some)
}

/// Ends the holder at a path; fine if there is none.
pub(crate) fn end(path: &Path) -> io::Result<()> {
    if let Some(mut stream) = connect(path)? {
        receive(&stream)?;
        stream.write_all(&[END])?;
        // Returns when it has gone.
        stream.read_to_end(&mut Vec::new())?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(path) {
        Ok(stream) => {
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            Ok(Some(stream))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn receive(stream: &UnixStream) -> io::Result<Held> {
    let frame = frame::receive::<()>(stream).map_err(io::Error::other)?;
    let mut descriptors = frame.map(|frame| frame.descriptors).unwrap_or_default().into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(user), Some(network)) => Ok(Held { user, network }),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The program of a holder: serves the socket that is its stdin until it is told to end.
pub(crate) fn hold() -> anyhow::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    // SAFETY: only the network namespace changes; descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    let user = File::open("/proc/self/ns/user")?;
    let network = File::open("/proc/self/ns/net")?;
    loop {
        let (stream, _) = listener.accept()?;
        // A client that goes away, or is another's, is no reason to end.
        if let Ok(Some(stream)) = answer(stream, &user, &network) {
            // Closed by the end of this process, which the client waits for.
            std::mem::forget(stream);
            return Ok(());
        }
    }
}

/// Hands out the namespaces; returns the connection of a client that says that it was the last.
fn answer(mut stream: UnixStream, user: &File, network: &File) -> io::Result<Option<UnixStream>> {
    if socket_peercred(&stream)?.uid != rustix::process::geteuid() {
        return Ok(None);
    }
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    frame::send(&stream, &(), &[user.as_fd(), network.as_fd()]).map_err(io::Error::other)?;
    let mut byte = [0];
    Ok((stream.read(&mut byte)? == 1 && byte == [END]).then_some(stream))
}
