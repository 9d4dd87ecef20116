//! `commit`: an image of what a container is.

use std::fs::File;
use std::sync::Arc;

use bulkhead_api::error::ApiError;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::request::CommitRequest;
use bulkhead_image_store::{Composition, SpooledLayer};
use bulkhead_runtime_control::{BuiltIn, DescriptorPurpose, PACKING_GENERATION, Reply, Request};

use super::registry::Container;
use super::{built_in, image_configuration};
use crate::error::{failed, from_control, invalid_state};
use crate::events::EventSink;
use crate::image::{collect_later, compose};
use crate::service::Service;

/// `POST /v1/containers/{id}/commit`
pub(crate) async fn commit(
    service: &Arc<Service>,
    container: &Arc<Container>,
    request: CommitRequest,
    sink: &EventSink,
) -> Result<(), ApiError> {
    let id = &container.id;
    let name = service.images.new_name(request.reference.as_deref())?;
    let parent = service.images.parent(&container.configuration).await?;
    let author = request.author.filter(|author| !author.is_empty());
    let configuration = image_configuration::of(
        &container.configuration,
        &parent.configuration,
        &request.changes,
        author.as_deref(),
    )?;
    expect_packer(container).await?;
    let what = format!("cannot make an image of container '{id}'");
    let work = BuiltIn::PackChanges { freeze: request.pause };
    let Some((layer, notes)) = layer(service, container, work, sink, &what).await? else { return Ok(()) };
    for note in notes {
        sink.notice(note).await;
    }
    let process = &container.configuration.init_process;
    let words = [std::slice::from_ref(&process.executable), &process.arguments].concat();
    let step = compose::step(words.join(" "), author, request.message.clone());
    let parent = Some((parent.digest, parent.platform));
    let composition = Composition { parent, configuration, step };
    let made = service.images.compose(composition, layer, name, &what).await;
    // What a full disk left room for is nobody's.
    let made = made.inspect_err(|_| collect_later(service))?;
    let mut attributes = vec![("imageID", made.id.clone()), ("imageRef", made.reference.clone())];
    attributes.extend(request.message.map(|message| ("comment", message)));
    container.tell("commit", &attributes);
    sink.send(StreamEvent::ImageMade { id: made.id }).await;
    Ok(())
}

/// What the guest packs, once it has said that this is all; nothing when the client has left.
async fn layer(
    service: &Arc<Service>,
    container: &Arc<Container>,
    work: BuiltIn,
    sink: &EventSink,
    what: &str,
) -> Result<Option<(SpooledLayer, Vec<String>)>, ApiError> {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| failed(what, &error))?;
    let mut running = built_in::start(container, work, (DescriptorPurpose::Stdout, writer)).await?;
    let spooled = tokio::select! {
        spooled = service.images.spool(File::from(reader), false, what) => spooled,
        () = sink.closed() => {
            running.cancel().await;
            return Ok(None);
        }
    };
    match spooled {
        // What was read may have ended anywhere.
        Ok(layer) => Ok(Some((layer, running.finished().await?))),
        Err(error) => {
            running.cancel().await;
            Err(error)
        }
    }
}

/// Refuses a container whose guest was started before there were commits.
async fn expect_packer(container: &Container) -> Result<(), ApiError> {
    let id = &container.id;
    let Some(run) = container.settled_run().await else { return Ok(()) };
    match run.ask(Request::Status).await {
        Ok(Reply::Status(status)) if status.generation < PACKING_GENERATION => {
            let message = format!(
                "container '{id}' was started by an earlier version: an image can be made of it when it is stopped"
            );
            Err(invalid_state(message).with_hint(format!("Stop it first: container stop {id}")))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(from_control(id, error)),
    }
}
