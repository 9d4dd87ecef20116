//! Logs: from the files that the runtime helper writes to the frames of `route::LOGS`.
//!
//! `stdio.log` holds lines as the Kubernetes container runtime interface has them:
//! `<RFC 3339> stdout|stderr F|P <bytes>\n`, where P marks a piece of a longer line. A file that is
//! full is renamed to `stdio.log.1`. `console.log` is what the VM's console printed, raw.
//!
//! One thread of the blocking pool reads for each client. A client that does not read holds up
//! nobody but itself.

mod follow;
mod line;
mod reader;
mod tail;

use std::io;
use std::path::PathBuf;

use bulkhead_api::error::ApiError;
use bulkhead_api::request::LogsQuery;
use bulkhead_paths::Directories;
use tokio::sync::mpsc;

use crate::container::registry::Container;
use crate::error::failed;
use reader::{Format, Reader};

/// Chunks of at most 64 KiB that wait for the client.
const CHUNKS_AHEAD: usize = 4;

/// Bytes for the client, or why there are no more.
pub(crate) type Chunks = mpsc::Receiver<io::Result<axum::body::Bytes>>;

/// Starts reading.
pub(crate) fn stream(
    directories: &Directories,
    container: &Container,
    query: LogsQuery,
) -> Result<Chunks, ApiError> {
    let files = directories.container(&container.id);
    let (path, format) =
        if query.boot { (files.console_log(), Format::Raw) } else { (files.log(), Format::Lines) };
    let watch = if query.follow { follow::Watch::new(&files.durable) } else { Ok(None) };
    let watch = watch
        .map_err(|error| failed(format!("cannot watch the log of container '{}'", container.id), &error))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let status = container.watch();
    let id = container.id.clone();
    tokio::spawn(async move {
        let outcome = follow::run(Source { path, format, tail: query.tail }, watch, status, &sender).await;
        if let Err(error) = outcome {
            tracing::warn!(id, "reading a log failed: {error}");
            drop(sender.send(Err(error)).await);
        }
    });
    Ok(receiver)
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    format: Format,
    tail: Option<usize>,
}

impl Source {
    fn open(&self) -> io::Result<Reader> {
        Reader::open(&self.path, self.format, self.tail)
    }
}
