//! Networks.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bulkhead_api::container::NetworkConfiguration;
use bulkhead_api::network::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, NetworkPruneResponse,
    NetworkResource,
};
use http::StatusCode;

use super::body::JsonBody;
use super::events::to_the_end;
use super::problem::Problem;
use crate::container::actor::NetworkChange;
use crate::network::change;
use crate::service::Service;

pub(super) async fn list(State(service): State<Arc<Service>>) -> Result<Json<Vec<NetworkResource>>, Problem> {
    Ok(Json(service.networks.list().await?))
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<NetworkCreateRequest>,
) -> Result<Json<NetworkResource>, Problem> {
    let created =
        to_the_end("cannot create the network", async move { change::create(&service, request).await });
    Ok(Json(created.await?))
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
    to_the_end("cannot delete the network", async move { change::delete(&service, &name).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn connect(
    State(service): State<Arc<Service>>,
    Path(network): Path<String>,
    JsonBody(request): JsonBody<NetworkConnectRequest>,
) -> Result<StatusCode, Problem> {
    let wanted = NetworkConfiguration { network, options: request.options };
    service.networks.check(Some(std::slice::from_ref(&wanted)))?;
    service.containers.find(&request.container)?.join(NetworkChange::Connect(wanted)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn disconnect(
    State(service): State<Arc<Service>>,
    Path(network): Path<String>,
    JsonBody(request): JsonBody<NetworkDisconnectRequest>,
) -> Result<StatusCode, Problem> {
    if !request.force {
        service.networks.expect_known(&network)?;
    }
    let change = NetworkChange::Disconnect { network, force: request.force };
    service.containers.find(&request.container)?.join(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(service): State<Arc<Service>>,
) -> Result<Json<NetworkPruneResponse>, Problem> {
    let pruned = to_the_end("cannot prune networks", async move { change::prune(&service).await });
    Ok(Json(NetworkPruneResponse { names: pruned.await? }))
}
