//! The thread of a device and what its owner may do with it

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::transport::{VirtioDevice, serve};
use crate::{ControlFault, RingFault};

/// Where the vhost-user frontend (the virtual machine monitor) comes from.
#[derive(Debug)]
pub enum Frontend {
    /// The first connection is accepted and the listener closed: a second one is refused.
    Listener(UnixListener),
    /// A connected stream socket whose other end the monitor inherits.
    Connected(UnixStream),
}

impl From<UnixListener> for Frontend {
    fn from(listener: UnixListener) -> Self {
        Self::Listener(listener)
    }
}

impl From<UnixStream> for Frontend {
    fn from(stream: UnixStream) -> Self {
        Self::Connected(stream)
    }
}

/// Why a device ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceEnd {
    /// The owner called [`DeviceThread::stop`].
    #[error("the device was stopped")]
    Stopped,
    /// The monitor closed its end, in an orderly fashion or by dying.
    #[error("the monitor disconnected")]
    Disconnected,
    /// The monitor's connection could not be accepted.
    #[error("cannot accept the monitor's connection")]
    Accept(#[source] io::Error),
    /// The connection failed, for example because the monitor does not read its replies.
    #[error("the monitor's connection failed")]
    Connection(#[source] io::Error),
    /// The monitor broke the vhost-user protocol.
    #[error("the monitor broke the vhost-user protocol")]
    Control(#[source] ControlFault),
    /// The guest broke a virtqueue.
    #[error("the guest broke the virtio protocol")]
    Ring(#[source] RingFault),
    /// The host refused to wait for events.
    #[error("cannot wait for events")]
    Poll(#[source] io::Error),
}

/// A running device. Dropping it leaves the device running; the guest notices nothing.
#[derive(Debug)]
pub struct DeviceThread {
    thread: JoinHandle<DeviceEnd>,
    stop: Arc<OwnedFd>,
    end: OwnedFd,
}

impl DeviceThread {
    /// Starts a thread that serves the device that `make` returns, given the epoll instance of the thread.
    pub(crate) fn spawn<D: VirtioDevice>(
        name: &str,
        frontend: Frontend,
        make: impl FnOnce(Arc<OwnedFd>) -> D + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let (end, end_of_thread) = pipe_with(PipeFlags::CLOEXEC)?;
        let stop_of_thread = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _closed_when_the_thread_ends = end_of_thread;
            let stream = match connect(frontend, &stop_of_thread) {
                Ok(stream) => stream,
                Err(end) => return end,
            };
            let mut device = make(Arc::clone(&epoll));
            let end = serve(stream, &stop_of_thread, epoll, &mut device);
            tracing::debug!(%end, "device ended");
            end
        })?;
        Ok(Self { thread, stop, end })
    }

    /// Blocks until the device has ended and returns why.
    #[must_use]
    pub fn wait(self) -> DeviceEnd {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Whether the device has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// A descriptor that polls as hung up (`POLLHUP`) once the device has ended.
    #[must_use]
    pub fn end_descriptor(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Asks the device to end; the guest's outstanding requests are never answered.
    pub fn stop(&self) {
        // The counter can only overflow after 2^64 - 2 stops; the first one suffices.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
    }
}

fn connect(frontend: Frontend, stop: &OwnedFd) -> Result<UnixStream, DeviceEnd> {
    match frontend {
        Frontend::Connected(stream) => Ok(stream),
        Frontend::Listener(listener) => {
            let mut descriptors = [PollFd::new(&listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut descriptors, None))
                .map_err(|error| DeviceEnd::Accept(error.into()))?;
            if !descriptors[1].revents().is_empty() {
                return Err(DeviceEnd::Stopped);
            }
            Ok(listener.accept().map_err(DeviceEnd::Accept)?.0)
        }
    }
}
