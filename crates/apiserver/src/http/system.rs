//! The service itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bulkhead_api::system::{DiskUsage, Property, SystemStatus};
use http::StatusCode;
use tokio::task::JoinSet;

use super::problem::Problem;
use crate::error::{EXIT_OWN_FAILURE, invalid};
use crate::service::Service;
use crate::settings::Settings;

pub(super) async fn status(State(service): State<Arc<Service>>) -> Json<SystemStatus> {
    let directories = &service.directories;
    Json(SystemStatus {
        status: "running".to_owned(),
        app_root: directories.app_root.display().to_string(),
        install_root: directories.install_root.display().to_string(),
        log_root: Some(directories.log_root.display().to_string()),
        api_server_version: env!("CARGO_PKG_VERSION").to_owned(),
        api_server_commit: bulkhead_build_commit::COMMIT.to_owned(),
        api_server_build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        api_server_app_name: "container-apiserver".to_owned(),
        configuration_problem: service.settings.problem.clone(),
        machine: Some(service.machines.support.clone()),
        network: match crate::network::rootless::support() {
            None => crate::network::forwarding::support(service.networks.lead_outside_by_ipv6()).await,
            support => support,
        },
        folders: crate::owners::support(),
    })
}

/// Ends this process alone; the next one finds the containers again, but not who was attached to them. So not for a
/// configuration that the next one could not use either.
pub(super) async fn end(State(service): State<Arc<Service>>) -> Result<StatusCode, Problem> {
    if let Some(problem) = Settings::current_problem(&service.directories) {
        return Err(Problem(invalid(problem)));
    }
    service.ending.cancel();
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses what would go by a configuration file that has a mistake.
pub(super) async fn expect_configuration(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    match &service.settings.problem {
        None => next.run(request).await,
        Some(problem) => {
            let error = invalid(problem).with_hint("Correct the file, then run: container system start");
            Problem(error.with_exit_code(EXIT_OWN_FAILURE)).into_response()
        }
    }
}

pub(super) async fn properties(State(service): State<Arc<Service>>) -> Json<Vec<Property>> {
    Json(service.settings.properties.clone())
}

pub(super) async fn disk_usage(State(service): State<Arc<Service>>) -> Result<Json<DiskUsage>, Problem> {
    Ok(Json(crate::disk_usage::measure(&service).await?))
}

/// Stops every container at once, then the network, then this process.
pub(super) async fn shut_down(State(service): State<Arc<Service>>) -> Result<StatusCode, Problem> {
    let mut tasks = JoinSet::new();
    for container in service.containers.all() {
        tasks.spawn(async move {
            if let Err(error) = container.stop_with_service().await {
                tracing::error!(id = container.id, "cannot stop container: {error}");
            }
            container.end_maintenance().await;
        });
    }
    while tasks.join_next().await.is_some() {}
    service.networks.shut_down().await;
    service.ending.cancel();
    Ok(StatusCode::NO_CONTENT)
}
