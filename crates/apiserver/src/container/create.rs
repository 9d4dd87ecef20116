//! Creating a container: image, name, record.

use std::sync::Arc;

use bulkhead_api::container::{ContainerConfiguration, ImageDescription, Platform};
use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::request::{CreateRequest, PullPolicy, PullRequest};
use bulkhead_state::{Change, ContainerRecord, StateRecord};
use tokio::sync::oneshot;

use super::registry::Container;
use super::{configuration, emulation, identifier, init_image, rename, volumes_from};
use crate::error::{exists, failed, not_found};
use crate::events::EventSink;
use crate::image::Found;
use crate::machine::Machines;
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
        abandon(service, &created.container).await;
        return Err(error);
    }
    sink.send(StreamEvent::Created { id }).await;
    Ok(())
}

/// Takes the name and submits the record. Pulls the image when it is missing.
pub(crate) async fn reserve(
    service: &Arc<Service>,
    mut request: CreateRequest,
    sink: &EventSink,
) -> Result<Created, ApiError> {
    let mounts_of = |id: &str| Ok(service.containers.find(id)?.configuration.mounts.clone());
    request.mounts =
        volumes_from::inherit(std::mem::take(&mut request.mounts), &request.volumes_from, mounts_of)?;
    configuration::validate(&request)?;
    service.networks.check(request.networks.as_deref())?;
    let id = request.id.clone().unwrap_or_else(identifier::generate);
    // A pull may take minutes: better to hear of the taken name before.
    if service.containers.contains(&id) {
        return Err(exists(format!("container '{id}' already exists")));
    }
    rename::expect_free(&service.directories, &id)?;
    // Keeps the image from being collected until the container protects it.
    let found = find_image(service, &request, sink).await?;
    let init_image = find_init_image(service, &request, sink).await?;
    let defaults = found.image.configuration.config.clone().unwrap_or_default();
    let platform = found.image.configuration.platform();
    let platform =
        Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant };
    emulation::emulators(&service.directories, &platform, request.rosetta)?;
    let image = ImageDescription { reference: found.reference.clone(), descriptor: found.descriptor.clone() };
    let (init_image, lease) = init_image.unzip();
    let settings = &service.settings;
    let configuration = configuration::merge(request, id, image, init_image, &defaults, platform, settings)?;
    let machine_bytes = Machines::memory_bytes(configuration.resources.memory_in_bytes);
    if let Some(shortage) = bulkhead_vmm::memory_shortage(machine_bytes) {
        sink.notice(format!("{shortage}: a container that uses more than that is ended")).await;
    }
    // From here on there is something to undo, which a client that goes away must not prevent.
    let (reply, outcome) = oneshot::channel();
    let (service, sink) = (Arc::clone(service), sink.clone());
    tokio::spawn(async move {
        // The image is protected by its lease until the container protects it.
        let (_found, _lease) = (found, lease);
        let outcome = insert(&service, configuration, &sink).await;
        if let Err(Ok(Created { container, .. })) = reply.send(outcome) {
            abandon(&service, &container).await;
        }
    });
    outcome.await.map_err(|error| failed("cannot create the container", &error))?
}

/// Gives the container its volumes and its name.
async fn insert(
    service: &Arc<Service>,
    mut configuration: ContainerConfiguration,
    sink: &EventSink,
) -> Result<Created, ApiError> {
    // Not yet under the container's name, which may turn out to be another's.
    let creation = format!(".creation-{}", uuid::Uuid::new_v4().simple());
    service.volumes.attach(&creation, &mut configuration.mounts, sink).await?;
    let record = ContainerRecord { configuration: configuration.clone(), state: StateRecord::default() };
    let container = match service.containers.insert(service, configuration, StateRecord::default(), None) {
        Ok(container) => container,
        Err(error) => {
            service.volumes.forsake(&creation, &record.configuration.mounts).await;
            return Err(error);
        }
    };
    // A network that was deleted during the pull; one that is deleted from now on sees the container.
    if let Err(error) = service.networks.check(Some(&container.configuration.networks)) {
        service.volumes.forsake(&creation, &record.configuration.mounts).await;
        abandon(service, &container).await;
        return Err(error);
    }
    service.volumes.rename(&creation, &container.id);
    // Submitted before anyone else learns of the container, so that it precedes all its changes.
    let committed = service.records.submit(Change::PutContainer(Box::new(record)));
    container.tell("create", &[]);
    Ok(Created { container, committed })
}

async fn find_image(service: &Service, request: &CreateRequest, sink: &EventSink) -> Result<Found, ApiError> {
    let pull = PullRequest {
        reference: request.image.clone(),
        platform: request.platform.clone(),
        scheme: request.scheme.clone(),
        maximum_concurrent_downloads: request.maximum_concurrent_downloads,
        registry_login: request.registry_login.clone(),
    };
    find_or_pull(service, &pull, request.pull, request.quiet, sink).await
}

/// The image of the guest's init, which is of this host's platform whatever the container's is.
async fn find_init_image(
    service: &Arc<Service>,
    request: &CreateRequest,
    sink: &EventSink,
) -> Result<Option<(ImageDescription, Found)>, ApiError> {
    let Some(reference) = request.init_image.as_ref().or(service.settings.init_image.as_ref()) else {
        return Ok(None);
    };
    let pull = PullRequest {
        reference: reference.clone(),
        scheme: request.scheme.clone(),
        maximum_concurrent_downloads: request.maximum_concurrent_downloads,
        registry_login: request.registry_login.clone(),
        ..PullRequest::default()
    };
    // Always is meant for what changes, and never for whatever would be asked for.
    let policy = if request.pull == PullPolicy::Never { PullPolicy::Never } else { PullPolicy::Missing };
    let found = find_or_pull(service, &pull, policy, request.quiet, sink).await?;
    let description =
        ImageDescription { reference: found.reference.clone(), descriptor: found.descriptor.clone() };
    let (service, image, checked) = (Arc::clone(service), Arc::clone(&found.image), description.clone());
    let outcome = tokio::task::spawn_blocking(move || init_image::check(&service, &checked, &image)).await;
    outcome.map_err(|error| failed("cannot examine the init image", &error))??;
    Ok(Some((description, found)))
}

async fn find_or_pull(
    service: &Service,
    pull: &PullRequest,
    policy: PullPolicy,
    quiet: bool,
    sink: &EventSink,
) -> Result<Found, ApiError> {
    let platform = pull.platform.as_deref();
    if policy != PullPolicy::Always
        && let Some(found) = service.images.find(&pull.reference, platform)?
    {
        return Ok(found);
    }
    if service.images.is_id(&pull.reference) {
        let cannot =
            || not_found(format!("image '{}' is an id, and cannot be pulled by that", pull.reference));
        return Err(service.images.defect(&pull.reference, platform).unwrap_or_else(cannot));
    }
    let reference = service.images.parse(&pull.reference)?;
    if policy == PullPolicy::Never {
        return Err(service.images.defect(&pull.reference, platform).unwrap_or_else(|| {
            not_found(format!("image '{reference}' is not here"))
                .with_hint(format!("Pull it: container image pull {reference}"))
        }));
    }
    let mut announcement = (!quiet).then(|| format!("Pulling {reference}"));
    // Of an image that is here the registry may have no more than that.
    if (policy == PullPolicy::Always || service.images.defect(&pull.reference, platform).is_none())
        && let Some(announcement) = announcement.take()
    {
        sink.notice(announcement).await;
    }
    let pulled = match service.images.pull_announced(pull, announcement, sink).await {
        Ok(pulled) => pulled,
        // An image of that name is here: what is wrong with it says more than that there is no other.
        Err(error) => {
            return Err(service.images.defect(&pull.reference, platform).unwrap_or(error));
        }
    };
    service.history.image("pull", &pulled.reference, &[]);
    Ok(pulled)
}

/// Undoes a creation that failed further on.
pub(crate) async fn abandon(service: &Service, container: &Container) {
    // It may be gone already, by auto_remove.
    if let Err(error) = container.delete(true).await
        && error.code != bulkhead_api::error::ErrorCode::NotFound
    {
        tracing::error!(id = container.id, "cannot remove a container that failed to start: {error}");
    }
    if let Err(error) = service.volumes.delete_anonymous(&container.configuration.mounts).await {
        tracing::error!(id = container.id, "cannot remove the volumes of a container: {error}");
    }
}
