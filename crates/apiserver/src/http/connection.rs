//! How many clients are served at once.
//!
//! Every connection holds a descriptor, and every start needs several. Of all descriptors a quarter is for
//! connections: clients that ask for nothing but events cannot keep containers from being started or
//! ended. A connection beyond them is accepted and told so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::route;
use bulkhead_descriptor_passing::stream::DescriptorStream;
use http::HeaderValue;
use http::header::CONNECTION;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listener::PassedDescriptors;
use super::problem::Problem;
use crate::allocator::Uses;

const SHARE: u64 = 4;
const LEAST: u64 = 16;
const MOST: u64 = 8192;
/// Connections beyond the bound that are told so, or stop the services. Further ones are closed.
const TOLD: usize = 32;

/// Counts connections.
#[derive(Clone, Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// For connections without a place.
    ear: Arc<Semaphore>,
    uses: Uses,
}

impl Room {
    /// For the descriptors that this process may have.
    pub(super) fn of_this_process(uses: Uses) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let connections = (descriptors / SHARE).clamp(LEAST, MOST);
        let places = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(usize::MAX)));
        Self { places, ear: Arc::new(Semaphore::new(TOLD)), uses }
    }

    /// `None` is to be closed: there are too many even of those that are told so.
    pub(super) fn admit(&self, stream: DescriptorStream) -> Option<Connection> {
        let uses = self.uses.clone();
        let place = Arc::clone(&self.places).try_acquire_owned();
        let has_place = place.is_ok();
        let permit = place.or_else(|_| Arc::clone(&self.ear).try_acquire_owned()).ok()?;
        Some(Connection { stream, has_place, _permit: permit, uses })
    }
}

/// A connection and its place among those that are served.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) stream: DescriptorStream,
    has_place: bool,
    _permit: OwnedSemaphorePermit,
    uses: Uses,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.uses.ended();
    }
}

impl Connection {
    pub(super) fn has_place(&self) -> bool {
        self.has_place
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Refuses what came by a connection without a place; the services can be asked about and stopped.
pub(super) async fn refuse_without_place(
    ConnectInfo(connection): ConnectInfo<PassedDescriptors>,
    request: Request,
    next: Next,
) -> Response {
    if connection.has_place() || [route::STATUS, route::SHUTDOWN].contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let message = "too many commands are connected to container services: wait until some have ended, or raise the \
                   limit of open files (ulimit -n) and start the services again";
    let mut response = Problem(ApiError::new(ErrorCode::InternalError, message)).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
