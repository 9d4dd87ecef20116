//! Processes, whose streams are descriptors of the caller.

use std::os::fd::BorrowedFd;

use bulkhead_api::request::{ExecRequest, ResizeRequest, RunRequest, SignalRequest, StartRequest};
use bulkhead_api::route;

use crate::connection::Client;
use crate::error::ClientError;
use crate::event_stream::EventStream;
use crate::path::fill;

impl Client {
    /// Creates and starts a container. The descriptors are those that the request names, in order.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn run(
        &self,
        request: &RunRequest,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::RUN, request, descriptors).await?))
    }

    /// Starts a container. The descriptors are those that the request names, in order.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn start_container(
        &self,
        id: &str,
        request: &StartRequest,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::START, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, request, descriptors).await?))
    }

    /// Attaches to a container's first process. The descriptors are those that the request names, in
    /// order.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn attach_container(
        &self,
        id: &str,
        request: &StartRequest,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::ATTACH, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, request, descriptors).await?))
    }

    /// Runs a further process. The descriptors are those that the request names, in order.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn exec(
        &self,
        id: &str,
        request: &ExecRequest,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::EXEC, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, request, descriptors).await?))
    }

    /// Signals one process of a container.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn signal_process(
        &self,
        id: &str,
        process: u32,
        request: &SignalRequest,
    ) -> Result<(), ClientError> {
        self.post(&process_path(route::SIGNAL, id, process), request).await
    }

    /// Resizes the terminal of one process.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn resize_terminal(
        &self,
        id: &str,
        process: u32,
        request: ResizeRequest,
    ) -> Result<(), ClientError> {
        self.post(&process_path(route::RESIZE, id, process), &request).await
    }
}

fn process_path(route: &str, id: &str, process: u32) -> String {
    fill(&fill(route, "process", &process.to_string()), "id", id)
}
