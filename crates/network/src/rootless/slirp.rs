//! The way out: slirp4netns, which makes a device in our network namespace and ends there what comes
//! through it, with sockets of its own in the host's. It is a child that is started anew when it dies
//! and that ends with us, because it watches a pipe of which we have the other end.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::firewall::{UPLINK, program};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;
use crate::uplink::ipv6;
use crate::worker::Worker;

const PROGRAM: &str = "slirp4netns";
/// What it takes for its own addresses; slirp4netns(1).
pub(super) const PREFIX6: Subnet6 = Subnet6::beginning_with([0xfd00, 0, 0, 0]);
/// Its link-local address. By that our end need not be in [`PREFIX6`], where a container's network may be.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// As the manual of slirp4netns recommends for throughput.
const MTU: u32 = 65520;
/// Before one that has worked is started anew.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// Between attempts to start one that does not start, or is not installed yet.
const PAUSE: Duration = Duration::from_secs(2);
/// It takes 10 ms; containers need not wait for what does not come.
const READY_LIMIT: Duration = Duration::from_secs(3);
const END_LIMIT: Duration = Duration::from_secs(3);
/// As much of its complaint as is told.
const MAXIMUM_COMPLAINT_BYTES: usize = 1024;

/// The child, whichever it is at the moment.
#[derive(Debug)]
pub(super) struct Slirp {
    /// Dropped to end it.
    end: Option<oneshot::Sender<()>>,
    has_ended: mpsc::Receiver<()>,
}

impl Slirp {
    /// Starts it from the host's thread and waits until it is ready, or has failed for the first time. To be
    /// called by the main thread, in our network namespace. With IPv6 there is a worker, which gives that to the
    /// device: slirp4netns would leave it to routers' advertisements.
    pub(super) fn start(host: &Handle, subnet: Subnet, ipv6: Option<Worker>) -> Self {
        let (end, mut ending) = oneshot::channel();
        let (ended, has_ended) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let namespace = format!("/proc/{}/ns/net", std::process::id());
        host.spawn(async move {
            let mut told = String::new();
            loop {
                let (problem, worked) = tokio::select! {
                    outcome = serve(&namespace, subnet, ipv6.as_ref(), &ready) => outcome,
                    // An error is the end, too.
                    _ = &mut ending => break,
                };
                if told != problem {
                    tracing::error!("containers cannot reach the outside: {problem}");
                }
                told = problem;
                // Nobody waits after the first time.
                let _ = ready.send(());
                tokio::select! {
                    () = tokio::time::sleep(if worked { SHORT_PAUSE } else { PAUSE }) => {}
                    _ = &mut ending => break,
                }
            }
            drop(ended);
        });
        if is_ready.recv_timeout(READY_LIMIT).is_err() {
            tracing::warn!("{PROGRAM} is not ready yet; going on without a way out");
        }
        Self { end: Some(end), has_ended }
    }

    /// Returns when it has gone.
    pub(super) fn stop(&mut self) {
        if self.end.take().is_some() {
            // Disconnected at the end.
            let _ = self.has_ended.recv_timeout(END_LIMIT);
        }
    }
}

/// Runs one to its end; returns the reason, and whether it has worked until then.
async fn serve(
    namespace: &str,
    subnet: Subnet,
    ipv6: Option<&Worker>,
    ready: &mpsc::Sender<()>,
) -> (String, bool) {
    let (mut child, keep, is_ready) = match start(namespace, subnet, ipv6.is_some()) {
        Ok(started) => started,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (format!("{PROGRAM} is not installed (on Debian: apt-get install {PROGRAM})"), false);
        }
        Err(error) => return (format!("cannot run {PROGRAM}: {error}"), false),
    };
    let complaint = last_words(child.stderr.take());
    let mut worked = false;
    let announce = async {
        let mut one = [0];
        if let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(is_ready)
            && matches!(pipe.read(&mut one).await, Ok(1))
        {
            worked = true;
            if let Some(worker) = ipv6 {
                give_ipv6(worker).await;
            }
            tracing::info!("{PROGRAM} leads out");
            // Nobody waits after the first time.
            let _ = ready.send(());
        }
    };
    let (status, complaint, ()) = tokio::join!(child.wait(), complaint, announce);
    drop(keep);
    let problem = match status {
        Ok(status) if status.code().is_none() || complaint.is_empty() => format!("{PROGRAM} ended: {status}"),
        Ok(_) => format!("{PROGRAM} ended: {complaint}"),
        Err(error) => format!("{PROGRAM} cannot be waited for: {error}"),
    };
    (problem, worked)
}

/// Its device was made anew, with nothing that an earlier one had.
async fn give_ipv6(worker: &Worker) {
    let given =
        worker.run(|plumbing| ipv6::connect_users_uplink(&mut plumbing.links, UPLINK, GATEWAY6)).await;
    if let Some(Err(error)) = given {
        tracing::warn!("IPv6 does not lead outside: {:#}", anyhow::Error::new(error));
    }
}

/// The end of what it says, which is read for as long as it lives: it must not have to wait.
async fn last_words(stderr: Option<ChildStderr>) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; MAXIMUM_COMPLAINT_BYTES]);
    if let Some(mut stderr) = stderr {
        while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
            text.extend_from_slice(&buffer[..length]);
            text.drain(..text.len().saturating_sub(MAXIMUM_COMPLAINT_BYTES));
        }
    }
    String::from_utf8_lossy(&text).trim().replace('\n', "; ")
}

/// The child, the pipe whose end is its end, and the one by which it says that it is ready.
fn start(namespace: &str, subnet: Subnet, with_ipv6: bool) -> io::Result<(Child, OwnedFd, OwnedFd)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (watched, keep) = pipe()?;
    let (is_ready, says_ready) = pipe()?;
    rustix::io::ioctl_fionbio(&is_ready, true)?;
    let mut command = Command::new(program(PROGRAM));
    command
        .args(["--configure", "--disable-host-loopback", "--disable-dns"])
        .args(["--enable-sandbox", "--enable-seccomp"])
        .args(with_ipv6.then_some("--enable-ipv6"))
        .arg(format!("--mtu={MTU}"))
        .arg(format!("--cidr={}", subnet))
        .arg(format!("--exit-fd={}", watched.as_raw_fd()))
        .arg(format!("--ready-fd={}", says_ready.as_raw_fd()))
        .args(["--netns-type=path", namespace, UPLINK])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // SAFETY: between fork and exec this makes system calls only.
    unsafe {
        command.pre_exec(move || {
            fcntl_setfd(&watched, FdFlags::empty())?;
            Ok(fcntl_setfd(&says_ready, FdFlags::empty())?)
        });
    }
    Ok((command.spawn()?, keep, is_ready))
}
