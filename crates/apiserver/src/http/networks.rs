//! Networks.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bulkhead_api::network::{NetworkCreateRequest, NetworkPruneResponse, NetworkResource};
use http::StatusCode;

use super::body::JsonBody;
use super::problem::Problem;
use crate::network::change;
use crate::service::Service;

pub(super) async fn list(State(service): State<Arc<Service>>) -> Result<Json<Vec<NetworkResource>>, Problem> {
    Ok(Json(service.networks.list().await?))
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<NetworkCreateRequest>,
) -> Result<Json<NetworkResource>, Problem> {
    Ok(Json(service.networks.create(request).await?))
}

pub(super) async fn inspect(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<NetworkResource>, Problem> {
    Ok(Json(service.networks.inspect(&name).await?))
}

pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    change::delete(&service, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(service): State<Arc<Service>>,
) -> Result<Json<NetworkPruneResponse>, Problem> {
    Ok(Json(NetworkPruneResponse { names: change::prune(&service).await? }))
}
