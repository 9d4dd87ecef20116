//! The HTTP interface of `bulkhead_api::route`.

mod body;
mod connection;
mod containers;
mod domains;
mod events;
mod files;
mod history;
mod images;
pub(crate) mod listener;
mod logs;
mod networks;
mod problem;
mod processes;
mod registries;
mod router;
mod system;
mod volumes;

use std::sync::Arc;

use crate::service::Service;
use listener::{ApiListener, PassedDescriptors};

/// Serves until the service ends.
pub(crate) async fn serve(listener: ApiListener, service: Arc<Service>) {
    let ending = service.ending.clone();
    let router = router::routes(service);
    let server = axum::serve(listener, router.into_make_service_with_connect_info::<PassedDescriptors>())
        .with_graceful_shutdown(async move { ending.cancelled().await });
    if let Err(error) = server.await {
        tracing::error!("the HTTP server ended: {error}");
    }
}
