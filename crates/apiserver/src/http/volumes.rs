//! Volumes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bulkhead_api::volume::{CreateVolumeRequest, PruneVolumesResponse, VolumeResource};
use http::StatusCode;

use super::body::JsonBody;
use super::problem::Problem;
use crate::service::Service;

pub(super) async fn list(State(service): State<Arc<Service>>) -> Json<Vec<VolumeResource>> {
    Json(service.volumes.list())
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<CreateVolumeRequest>,
) -> Result<Json<VolumeResource>, Problem> {
    Ok(Json(service.volumes.create(request).await?))
}

pub(super) async fn inspect(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<VolumeResource>, Problem> {
    Ok(Json(service.volumes.inspect(&name)?))
}

pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    service.volumes.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(service): State<Arc<Service>>,
) -> Result<Json<PruneVolumesResponse>, Problem> {
    Ok(Json(service.volumes.prune().await?))
}
