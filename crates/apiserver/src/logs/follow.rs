//! Waits for more with inotify(7), until the container stops.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use axum::body::Bytes;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Source;
use crate::container::status::{Phase, Status};

/// Becomes ready when a file in a directory changes.
#[derive(Debug)]
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// `None` when there is no such directory: the container was never started.
    pub(super) fn new(folder: &Path) -> io::Result<Option<Self>> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // The directory rather than the file: it may not be there yet, and it is renamed when full.
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF;
        match inotify::add_watch(&descriptor, folder, flags) {
            // SAFETY: the descriptor is moved in and stays the same until the `AsyncFd` is dropped.
            Ok(_) => match unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) } {
                Ok(watch) => Ok(Some(Self(watch))),
                Err(error) => Err(error.into()),
            },
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn changed(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        // What changed does not matter: whoever waits reads everything there is.
        while rustix::io::read(guard.get_inner(), &mut buffer).is_ok_and(|(events, _)| !events.is_empty()) {}
        guard.clear_ready();
        Ok(())
    }
}

/// Sends the log until its end or, with a watch, until the container stops or the client goes.
pub(super) async fn run(
    source: Source,
    watch: Option<Watch>,
    mut status: watch::Receiver<Status>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let end = source.end;
    let mut reader = blocking(move || source.open()).await?;
    loop {
        // Looked at before reading: what was written before the stop is then read for certain.
        let stopped = matches!(status.borrow_and_update().phase, Phase::Stopped | Phase::Removed)
            || end.is_some_and(|end| end <= Instant::now());
        loop {
            let (back, frames) = blocking(move || {
                let frames = reader.read()?;
                Ok((reader, frames))
            })
            .await?;
            reader = back;
            if frames.is_empty() {
                break;
            }
            if sender.send(Ok(Bytes::from(frames))).await.is_err() {
                return Ok(());
            }
        }
        let Some(watch) = watch.as_ref().filter(|_| !stopped) else { return Ok(()) };
        tokio::select! {
            changed = watch.changed() => changed?,
            // A dropped status means that the container was removed.
            changed = status.changed() => if changed.is_err() { return Ok(()) },
            () = async { tokio::time::sleep_until(end.unwrap_or_else(Instant::now)).await }, if end.is_some() => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
