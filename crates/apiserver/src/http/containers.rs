//! Containers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use bulkhead_api::container::{ContainerSnapshot, ContainerState};
use bulkhead_api::observation::ContainerStatistics;
use bulkhead_api::request::{
    CommitRequest, CreateRequest, PruneRequest, PruneResponse, RenameRequest, RunRequest, SignalRequest,
    StartRequest, StopRequest, UpdateRequest, UpdateResponse, WaitResponse,
};
use http::StatusCode;
use serde::Deserialize;

use super::body::{JsonBody, Parameters};
use super::events::{respond, to_the_end};
use super::listener::PassedDescriptors;
use super::problem::Problem;
use crate::container::registry::Container;
use crate::container::{commit as committing, create, prune as pruning, run};
use crate::service::Service;

/// `?all=bool`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    all: bool,
}

/// `?force=bool&volumes=bool`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeleteQuery {
    force: bool,
    volumes: bool,
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Vec<ContainerSnapshot>> {
    let snapshots = service.containers.all().into_iter().map(|container| snapshot(&service, &container));
    Json(snapshots.filter(|one| query.all || one.status.state != ContainerState::Stopped).collect())
}

pub(super) async fn inspect(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<ContainerSnapshot>, Problem> {
    let container = service.containers.find(&id)?;
    Ok(Json(snapshot(&service, &container)))
}

fn snapshot(service: &Service, container: &Container) -> ContainerSnapshot {
    let mut snapshot = container.snapshot();
    snapshot.status.network_problem = service.networks.problem(&container.id);
    snapshot
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Response {
    respond(|sink| async move {
        tokio::select! {
            outcome = create::create(&service, request, &sink) => outcome,
            () = sink.closed() => Ok(()),
        }
    })
    .await
}

pub(super) async fn run(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    JsonBody(request): JsonBody<RunRequest>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move { run::run(&service, request, descriptors, &sink).await }).await
}

pub(super) async fn start(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<StartRequest>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        run::start(&container, request, descriptors, &sink).await
    })
    .await
}

pub(super) async fn attach(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<StartRequest>,
) -> Response {
    let descriptors = descriptors.take();
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        run::attach(&container, request, descriptors, &sink).await
    })
    .await
}

pub(super) async fn restart(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<StopRequest>,
) -> Result<StatusCode, Problem> {
    let container = service.containers.find(&id)?;
    to_the_end("cannot restart the container", async move { container.restart(&request).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn wait(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<WaitResponse>, Problem> {
    let exit_code = service.containers.find(&id)?.wait().await?;
    Ok(Json(WaitResponse { exit_code }))
}

pub(super) async fn commit(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<CommitRequest>,
) -> Response {
    respond(|sink| async move {
        let container = service.containers.find(&id)?;
        committing::commit(&service, &container, request, &sink).await
    })
    .await
}

pub(super) async fn update(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<UpdateResponse>, Problem> {
    let container = service.containers.find(&id)?;
    Ok(Json(container.update(request).await?))
}

pub(super) async fn rename(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<RenameRequest>,
) -> Result<StatusCode, Problem> {
    let container = service.containers.find(&id)?;
    // The actor does all of it, whether this client stays or not.
    container.rename(&request.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<PruneRequest>,
) -> Result<Json<PruneResponse>, Problem> {
    Ok(Json(pruning::prune(&service, request).await?))
}

pub(super) async fn stop(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<StopRequest>,
) -> Result<StatusCode, Problem> {
    let container = service.containers.find(&id)?;
    to_the_end("cannot stop the container", async move { container.stop(&request).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn kill(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<SignalRequest>,
) -> Result<StatusCode, Problem> {
    service.containers.find(&id)?.kill(&request.signal).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    service.containers.find(&id)?.set_paused(true).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unpause(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    service.containers.find(&id)?.set_paused(false).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn statistics(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<ContainerStatistics>, Problem> {
    Ok(Json(service.containers.find(&id)?.statistics().await?))
}

pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    Parameters(query): Parameters<DeleteQuery>,
) -> Result<StatusCode, Problem> {
    to_the_end("cannot delete the container", async move {
        let container = service.containers.find(&id)?;
        container.delete(query.force).await?;
        if query.volumes {
            service.volumes.delete_anonymous(&container.configuration.mounts).await?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
