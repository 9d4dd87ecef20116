//! Images.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::image::{HistoryStep, ImageResource};
use bulkhead_api::request::{
    ImportRequest, LoadRequest, PruneImagesRequest, PruneImagesResponse, PullRequest, PushRequest,
    SaveRequest, TagRequest, VerifyImageRequest, VerifyImageResponse,
};
use http::StatusCode;
use serde::Deserialize;

use super::body::{JsonBody, Parameters};
use super::events::respond;
use super::listener::PassedDescriptors;
use super::problem::Problem;
use crate::error::invalid;
use crate::image::collect_later;
use crate::service::Service;

/// `?reference=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReferenceQuery {
    reference: String,
}

/// `?reference=&platform=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlatformQuery {
    reference: String,
    platform: Option<String>,
}

pub(super) async fn list(State(service): State<Arc<Service>>) -> Result<Json<Vec<ImageResource>>, Problem> {
    Ok(Json(service.images.list().await?))
}

pub(super) async fn names(State(service): State<Arc<Service>>) -> Json<Vec<String>> {
    Json(service.images.all_names())
}

pub(super) async fn inspect(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<ReferenceQuery>,
) -> Result<Json<ImageResource>, Problem> {
    Ok(Json(service.images.inspect(&query.reference).await?))
}

pub(super) async fn history(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<PlatformQuery>,
) -> Result<Json<Vec<HistoryStep>>, Problem> {
    Ok(Json(service.images.history(&query.reference, query.platform.as_deref()).await?))
}

pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<ReferenceQuery>,
) -> Result<StatusCode, Problem> {
    let reference = crate::image::delete::delete(&service, &query.reference).await?;
    service.history.image("delete", &reference, &[]);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pull(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<PullRequest>,
) -> Response {
    respond(|sink| async move {
        tokio::select! {
            pulled = service.images.pull(&request, &sink) => {
                let reference = pulled?.reference;
                service.history.image("pull", &reference, &[]);
                sink.send(StreamEvent::Finished { references: vec![reference] }).await;
            }
            () = sink.closed() => {}
        }
        Ok(())
    })
    .await
}

pub(super) async fn push(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<PushRequest>,
) -> Response {
    respond(|sink| async move {
        tokio::select! {
            pushed = service.images.push(&request, &sink) => {
                let reference = pushed?;
                service.history.image("push", &reference, &[]);
                sink.send(StreamEvent::Finished { references: vec![reference] }).await;
            }
            () = sink.closed() => {}
        }
        Ok(())
    })
    .await
}

pub(super) async fn load(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    JsonBody(request): JsonBody<LoadRequest>,
) -> Response {
    let mut descriptors = descriptors.take();
    respond(|sink| async move {
        let (Some(archive), true) = (descriptors.pop(), descriptors.is_empty()) else {
            return Err(invalid("the request needs exactly one descriptor: the archive"));
        };
        let references = service.images.load(&request, archive, &sink).await?;
        for reference in &references {
            service.history.image("load", reference, &[]);
        }
        sink.send(StreamEvent::Finished { references }).await;
        Ok(())
    })
    .await
}

pub(super) async fn import(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    JsonBody(request): JsonBody<ImportRequest>,
) -> Response {
    let mut descriptors = descriptors.take();
    respond(|sink| async move {
        let (Some(archive), true) = (descriptors.pop(), descriptors.is_empty()) else {
            return Err(invalid("the request needs exactly one descriptor: the archive"));
        };
        let made = service.images.import(request, archive, &sink).await;
        let made = made.inspect_err(|_| collect_later(&service))?;
        service.history.image("import", &made.reference, &[]);
        sink.send(StreamEvent::ImageMade { id: made.id }).await;
        Ok(())
    })
    .await
}

pub(super) async fn save(
    State(service): State<Arc<Service>>,
    ConnectInfo(descriptors): ConnectInfo<PassedDescriptors>,
    JsonBody(request): JsonBody<SaveRequest>,
) -> Response {
    let mut descriptors = descriptors.take();
    respond(|sink| async move {
        let (Some(archive), true) = (descriptors.pop(), descriptors.is_empty()) else {
            return Err(invalid("the request needs exactly one descriptor: the archive"));
        };
        let references = service.images.save(&request, archive, &sink).await?;
        for reference in &references {
            service.history.image("save", reference, &[]);
        }
        sink.send(StreamEvent::Finished { references }).await;
        Ok(())
    })
    .await
}

pub(super) async fn prune(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<PruneImagesRequest>,
) -> Result<Json<PruneImagesResponse>, Problem> {
    let response = crate::image::prune::prune(&service, request).await?;
    for reference in &response.references {
        service.history.image("delete", reference, &[]);
    }
    Ok(Json(response))
}

pub(super) async fn verify(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<VerifyImageRequest>,
) -> Result<Json<VerifyImageResponse>, Problem> {
    Ok(Json(service.images.verify(&request.reference).await?))
}

pub(super) async fn tag(
    State(service): State<Arc<Service>>,
    JsonBody(request): JsonBody<TagRequest>,
) -> Result<StatusCode, Problem> {
    let target = service.images.tag(&request.source, &request.target).await?;
    service.history.image("tag", &target, &[]);
    Ok(StatusCode::NO_CONTENT)
}
