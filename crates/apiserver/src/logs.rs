//! Logs: from the files that the runtime helper writes to the frames of `route::LOGS`.
//!
//! `stdio.log` holds lines as the Kubernetes container runtime interface has them:
//! `<RFC 3339> stdout|stderr F|P <bytes>\n`, where P marks a piece of a longer line. A file that is
//! full is renamed to `stdio.log.1`, that one to `stdio.log.2` and so on. `console.log` is what the VM's console printed, raw.
//!
//! One thread of the blocking pool reads for each client. A client that does not read holds up
//! nobody but itself.

mod follow;
mod line;
mod reader;
mod rotation;
mod tail;
mod view;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::request::LogsQuery;
use bulkhead_paths::{ContainerDirectories, Directories};
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::container::registry::Container;
use crate::date;
use crate::error::failed;
use reader::{Format, Reader};
use view::View;

/// Chunks of at most 64 KiB that wait for the client.
const CHUNKS_AHEAD: usize = 4;

/// The console's log has one old part.
const CONSOLE_PARTS: u32 = 2;

/// Bytes for the client, or why there are no more.
pub(crate) type Chunks = mpsc::Receiver<io::Result<axum::body::Bytes>>;

/// Starts reading.
pub(crate) fn stream(
    directories: &Directories,
    container: &Container,
    query: LogsQuery,
) -> Result<Chunks, ApiError> {
    if container.configuration.log.keeps_nothing() && !query.boot {
        return Err(ApiError::new(
            ErrorCode::InvalidState,
            format!("nothing is kept of what container '{}' writes: its log driver is none", container.id),
        )
        .with_hint(format!("read along with `container attach --no-stdin {}`", container.id)));
    }
    let files = directories.container(&container.id);
    let watch = if query.follow { follow::Watch::new(&files.durable) } else { Ok(None) };
    let watch = watch
        .map_err(|error| failed(format!("cannot watch the log of container '{}'", container.id), &error))?;
    // Whoever follows goes on when the container gets another name.
    let folder = open_folder(&files.durable).filter(|_| query.follow);
    let files = match &folder {
        Some(folder) => {
            ContainerDirectories { durable: format!("/proc/self/fd/{}", folder.as_raw_fd()).into(), ..files }
        }
        None => files,
    };
    let (path, parts, format) = match query.boot {
        true => (files.console_log(), CONSOLE_PARTS, Format::Raw),
        false => (files.log(), container.configuration.log.bounds().files, Format::Lines),
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let status = container.watch();
    let id = container.id.clone();
    let source = Source { path, parts, format, view: View::from(query), end: end(query) };
    tokio::spawn(async move {
        let outcome = follow::run(source, watch, status, &sender).await;
        drop(folder);
        if let Err(error) = outcome {
            tracing::warn!(id, "reading a log failed: {error}");
            drop(sender.send(Err(error)).await);
        }
    });
    Ok(receiver)
}

/// `None` when the container was never started, or is gone: then there is nothing to follow either.
fn open_folder(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    parts: u32,
    format: Format,
    view: View,
    /// When following ends.
    end: Option<Instant>,
}

/// `--until` on the clock that does not jump.
fn end(query: LogsQuery) -> Option<Instant> {
    let left_us = query.until_us?.saturating_sub(date::now_us());
    Instant::now().checked_add(Duration::from_micros(u64::try_from(left_us).unwrap_or_default()))
}

impl Source {
    fn open(&self) -> io::Result<Reader> {
        Reader::open(&self.path, self.parts, self.format, &self.view)
    }
}
