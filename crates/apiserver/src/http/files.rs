//! Files of a container.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use bulkhead_api::files::{Change, ExtractRequest, PackRequest};

use super::body::JsonBody;
use super::events::respond;
use super::listener::PassedDescriptors;
use super::problem::Problem;
use crate::container::built_in;
use crate::service::Service;

pub(super) async fn pack(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<PackRequest>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        built_in::pack(&container, request, descriptors, &sink).await
    })
    .await
}

pub(super) async fn extract(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExtractRequest>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        built_in::extract(&container, request, descriptors, &sink).await
    })
    .await
}

pub(super) async fn export(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    Path(id): Path<String>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        built_in::export(&container, descriptors, &sink).await
    })
    .await
}

pub(super) async fn changes(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<Change>>, Problem> {
    Ok(Json(service.containers.find(&id)?.changes().await?))
}
