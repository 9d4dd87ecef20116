//! Creating a container: image, name, record.

use std::sync::Arc;

use bulkhead_api::container::{ImageDescription, Platform};
use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::request::{CreateRequest, PullRequest};
use bulkhead_state::{Change, ContainerRecord, StateRecord};

use super::registry::Container;
use super::{configuration, identifier};
use crate::error::exists;
use crate::events::EventSink;
use crate::image::Found;
use crate::records::Committed;
use crate::service::Service;

/// A container whose record is on its way to the disk.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) container: Arc<Container>,
    pub(crate) committed: Committed,
}

/// `POST /v1/containers`
pub(crate) async fn create(
    service: &Arc<Service>,
    request: CreateRequest,
    sink: &EventSink,
) -> Result<(), ApiError> {
    let created = reserve(service, request, sink).await?;
    let id = created.container.id.clone();
    if let Err(error) = created.committed.wait().await {
        abandon(&created.container).await;
        return Err(error);
    }
    sink.send(StreamEvent::Created { id }).await;
    Ok(())
}

/// Takes the name and submits the record. Pulls the image when it is missing.
pub(crate) async fn reserve(
    service: &Arc<Service>,
    request: CreateRequest,
    sink: &EventSink,
) -> Result<Created, ApiError> {
    configuration::validate(&request)?;
    let id = request.id.clone().unwrap_or_else(identifier::generate);
    // A pull may take minutes: better to hear of the taken name before.
    if service.containers.contains(&id) {
        return Err(exists(format!("container '{id}' already exists")));
    }
    // Keeps the image from being collected until the container protects it.
    let found = find_image(service, &request, sink).await?;
    let defaults = found.image.configuration.config.clone().unwrap_or_default();
    let platform = found.image.configuration.platform();
    let platform =
        Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant };
    let image = ImageDescription { reference: found.reference.clone(), descriptor: found.descriptor.clone() };
    let configuration = configuration::merge(request, id, image, &defaults, platform, &service.settings)?;
    let record = ContainerRecord { configuration: configuration.clone(), state: StateRecord::default() };
    let container = service.containers.insert(service, configuration, StateRecord::default(), None)?;
    // Submitted before anyone else learns of the container, so that it precedes all its changes.
    let committed = service.records.submit(Change::PutContainer(Box::new(record)));
    Ok(Created { container, committed })
}

async fn find_image(service: &Service, request: &CreateRequest, sink: &EventSink) -> Result<Found, ApiError> {
    let platform = request.platform.as_deref();
    if let Some(found) = service.images.find(&request.image, platform)? {
        return Ok(found);
    }
    let pull = PullRequest {
        reference: request.image.clone(),
        platform: request.platform.clone(),
        scheme: request.scheme.clone(),
        maximum_concurrent_downloads: request.maximum_concurrent_downloads,
    };
    let reference = service.images.parse(&request.image)?;
    sink.notice(format!("Pulling {reference}")).await;
    service.images.pull(&pull, sink).await?;
    service.images.find(&request.image, platform)?.ok_or_else(|| {
        crate::error::not_found(format!("image '{reference}' has gone right after it was pulled"))
    })
}

/// Undoes a creation that failed further on.
pub(crate) async fn abandon(container: &Container) {
    // It may be gone already, by auto_remove.
    if let Err(error) = container.delete(true).await
        && error.code != bulkhead_api::error::ErrorCode::NotFound
    {
        tracing::error!(id = container.id, "cannot remove a container that failed to start: {error}");
    }
}
