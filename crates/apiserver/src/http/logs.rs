//! Logs of a container.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bulkhead_api::request::LogsQuery;

use super::body::Parameters;
use super::problem::Problem;
use crate::logs;
use crate::service::Service;

pub(super) async fn logs(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    Parameters(query): Parameters<LogsQuery>,
) -> Result<Response, Problem> {
    let container = service.containers.find(&id)?;
    let frames = logs::stream(&service.directories, &container, query)?;
    let body = Body::from_stream(futures_util::stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|chunk| (chunk, frames))
    }));
    Ok(([("content-type", "application/vnd.docker.raw-stream")], body).into_response())
}
