//! Which handler serves which path.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::route;

use super::problem::Problem;
use super::{
    connection, containers, domains, files, history, images, logs, networks, processes, registries, system,
    volumes,
};
use crate::service::Service;

/// As much as a helper takes in one frame: arguments and environment of a process.
const MAXIMUM_BODY_BYTES: usize = 4 << 20;

pub(super) fn routes(service: Arc<Service>) -> Router {
    let configured = || from_fn_with_state(Arc::clone(&service), system::expect_configuration);
    Router::new()
        .route(route::STATUS, get(system::status))
        .route(route::PROPERTIES, get(system::properties))
        .route(route::DISK_USAGE, get(system::disk_usage))
        .route(route::SHUTDOWN, post(system::shut_down))
        .route(route::END, post(system::end))
        .route(route::NETWORKS, get(networks::list).post(networks::create))
        .route(route::NETWORK, get(networks::inspect).delete(networks::delete))
        .route(route::NETWORK_CONNECT, post(networks::connect))
        .route(route::NETWORK_DISCONNECT, post(networks::disconnect))
        .route(route::PRUNE_NETWORKS, post(networks::prune))
        .route(route::DOMAINS, get(domains::list).post(domains::create))
        .route(route::DOMAIN, axum::routing::delete(domains::delete))
        .route(route::CONTAINERS, post(containers::create).layer(configured()).get(containers::list))
        .route(route::RUN, post(containers::run).layer(configured()))
        .route(route::CONTAINER, get(containers::inspect).delete(containers::delete))
        .route(route::START, post(containers::start))
        .route(route::STOP, post(containers::stop))
        .route(route::RESTART, post(containers::restart))
        .route(route::WAIT, post(containers::wait))
        .route(route::RENAME, post(containers::rename))
        .route(route::ATTACH, post(containers::attach))
        .route(route::PRUNE, post(containers::prune))
        .route(route::EVENTS, get(history::events))
        .route(route::COMMIT, post(containers::commit))
        .route(route::UPDATE, post(containers::update))
        .route(route::KILL, post(containers::kill))
        .route(route::PAUSE, post(containers::pause))
        .route(route::UNPAUSE, post(containers::unpause))
        .route(route::PACK, post(files::pack))
        .route(route::EXTRACT, post(files::extract))
        .route(route::EXPORT, post(files::export))
        .route(route::CHANGES, get(files::changes))
        .route(route::PROCESSES, get(processes::list))
        .route(route::STATISTICS, get(containers::statistics))
        .route(route::LOGS, get(logs::logs))
        .route(route::EXEC, post(processes::exec))
        .route(route::SIGNAL, post(processes::signal))
        .route(route::RESIZE, post(processes::resize))
        .route(route::IMAGES, get(images::list))
        .route(route::IMAGE, get(images::inspect).delete(images::delete))
        .route(route::IMAGE_HISTORY, get(images::history))
        .route(route::IMAGE_PULL, post(images::pull).layer(configured()))
        .route(route::IMAGE_LOAD, post(images::load))
        .route(route::IMAGE_IMPORT, post(images::import))
        .route(route::IMAGE_PUSH, post(images::push).layer(configured()))
        .route(route::IMAGE_SAVE, post(images::save))
        .route(route::IMAGE_PRUNE, post(images::prune))
        .route(route::IMAGE_NAMES, get(images::names))
        .route(route::IMAGE_VERIFY, post(images::verify))
        .route(route::IMAGE_TAG, post(images::tag))
        .route(route::REGISTRIES, post(registries::log_in).layer(configured()).get(registries::list))
        .route(route::REGISTRY, axum::routing::delete(registries::log_out))
        .route(route::VOLUMES, get(volumes::list).post(volumes::create))
        .route(route::VOLUME, get(volumes::inspect).delete(volumes::delete))
        .route(route::PRUNE_VOLUMES, post(volumes::prune))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(axum::middleware::from_fn(connection::refuse_without_place))
        .layer(DefaultBodyLimit::max(MAXIMUM_BODY_BYTES))
        .with_state(service)
}

async fn unknown(method: http::Method, uri: http::Uri) -> Problem {
    let path = uri.path().escape_default();
    Problem(ApiError::new(ErrorCode::NotFound, format!("there is no {method} {path}")))
}
