//! Images that are made here, and their names.

use std::io::Read;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_image_store::{Composition, SpooledLayer, StoreError};
use bulkhead_oci::{Digest, History, Platform, Reference};
use serde_json::{Map, Value};

use super::{Images, convert, digest_of, from_store, platform_of};
use crate::date;
use crate::error::{FULL_DISK_HINT, failed, invalid};

/// An image that was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// 64 hex digits.
    pub(crate) id: String,
    /// Its full name.
    pub(crate) reference: String,
}

/// The image that a container was created from, as far as another one goes on from it.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) digest: Digest,
    pub(crate) platform: Platform,
    /// All of its configuration.
    pub(crate) configuration: Map<String, Value>,
}

impl Images {
    /// The name that an image is to have that is yet to be made, if it is to have one.
    pub(crate) fn new_name(&self, text: Option<&str>) -> Result<Option<Reference>, ApiError> {
        let Some(text) = text else { return Ok(None) };
        let name = self.parse(text)?;
        match name.digest() {
            Some(_) => {
                Err(invalid(format!("'{name}' is not a name that can be given: it contains a digest")))
            }
            None => Ok(Some(name)),
        }
    }

    pub(crate) async fn parent(&self, container: &ContainerConfiguration) -> Result<Parent, ApiError> {
        let digest = digest_of(&container.image.descriptor)?;
        let (store, platform) = (self.store.clone(), platform_of(container));
        let reference = container.image.reference.clone();
        let read = move || {
            let configuration = store.raw_configuration(&digest, &platform)?;
            Ok(Parent { digest, platform, configuration })
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| failed("cannot read the configuration of an image", &error))?
            .map_err(|error| from_store(&reference, &error))
    }

    /// Makes a layer of a tar stream; `what` is what cannot be done without it.
    pub(crate) async fn spool(
        &self,
        tar: impl Read + Send + 'static,
        is_compressed: bool,
        what: &str,
    ) -> Result<SpooledLayer, ApiError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.spool_layer(tar, is_compressed))
            .await
            .map_err(|error| failed(what, &error))?
            .map_err(|error| from_new(what, &error))
    }

    /// Makes an image and names it.
    pub(crate) async fn compose(
        &self,
        composition: Composition,
        layer: SpooledLayer,
        name: Option<Reference>,
        what: &str,
    ) -> Result<Made, ApiError> {
        let store = self.store.clone();
        let composed = tokio::task::spawn_blocking(move || store.compose(composition, layer))
            .await
            .map_err(|error| failed(what, &error))?
            .map_err(|error| from_new(what, &error))?;
        let digest = composed.descriptor.digest;
        let reference = match name {
            Some(name) => name.to_string(),
            None => self.parse(&format!("untagged@{digest}"))?.to_string(),
        };
        self.name(reference.clone(), convert::descriptor(&composed.descriptor)).await?;
        drop(composed.lease);
        Ok(Made { id: digest.hex(), reference })
    }
}

/// The step of an image's history that is taken now.
pub(crate) fn step(created_by: String, author: Option<String>, comment: Option<String>) -> History {
    History {
        created: Some(date::now()),
        created_by: Some(created_by).filter(|text| !text.is_empty()),
        author,
        comment: comment.filter(|text| !text.is_empty()),
        empty_layer: false,
    }
}

/// What the store could not make of what a guest or a user gave.
fn from_new(what: &str, error: &StoreError) -> ApiError {
    match error {
        StoreError::NoSpace { .. } => failed(what, error).with_hint(FULL_DISK_HINT),
        StoreError::NewLayer { .. }
        | StoreError::Layer { .. }
        | StoreError::Document { .. }
        | StoreError::Configuration { .. } => ApiError::caused_by(ErrorCode::InvalidArgument, what, error),
        _ => failed(what, error),
    }
}
