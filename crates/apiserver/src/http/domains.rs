//! Domains by which the host finds containers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bulkhead_api::network::{DomainCreateRequest, DomainCreateResponse};
use http::StatusCode;

use super::body::JsonBody;
use super::events::to_the_end;
use super::problem::Problem;
use crate::service::Service;

pub(super) async fn list(State(service): State<Arc<Service>>) -> Json<Vec<String>> {
    Json(service.networks.domains())
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<DomainCreateRequest>,
) -> Result<Json<DomainCreateResponse>, Problem> {
    let created =
        to_the_end("cannot create the domain", async move { service.networks.create_domain(request).await });
    Ok(Json(created.await?))
}

pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    to_the_end("cannot delete the domain", async move { service.networks.delete_domain(&name).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
