//! Registries.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bulkhead_api::registry::{LoginRequest, RegistryResource};
use http::StatusCode;
use serde::Deserialize;

use super::body::{JsonBody, Parameters};
use super::problem::Problem;
use crate::service::Service;

/// `?server=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerQuery {
    server: String,
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
) -> Result<Json<Vec<RegistryResource>>, Problem> {
    Ok(Json(service.images.logins().await?))
}

pub(super) async fn log_in(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<StatusCode, Problem> {
    service.images.log_in(&request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn log_out(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<ServerQuery>,
) -> Result<StatusCode, Problem> {
    service.images.log_out(&query.server).await?;
    Ok(StatusCode::NO_CONTENT)
}
