//! Processes of a container.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use bulkhead_api::observation::ProcessEntry;
use bulkhead_api::request::{ExecRequest, ResizeRequest, SignalRequest};
use http::StatusCode;

use super::body::JsonBody;
use super::events::respond;
use super::listener::PassedDescriptors;
use super::problem::Problem;
use crate::container::exec;
use crate::service::Service;

pub(super) async fn exec(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        exec::exec(&container, request, descriptors, &sink).await
    })
    .await
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<ProcessEntry>>, Problem> {
    Ok(Json(service.containers.find(&id)?.processes().await?))
}

pub(super) async fn signal(
    State(service): State<Arc<Service>>,
    Path((id, process)): Path<(String, u32)>,
    JsonBody(request): JsonBody<SignalRequest>,
) -> Result<StatusCode, Problem> {
    service.containers.find(&id)?.signal(process, &request.signal).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resize(
    State(service): State<Arc<Service>>,
    Path((id, process)): Path<(String, u32)>,
    JsonBody(request): JsonBody<ResizeRequest>,
) -> Result<StatusCode, Problem> {
    service.containers.find(&id)?.resize(process, request.rows, request.columns).await?;
    Ok(StatusCode::NO_CONTENT)
}
