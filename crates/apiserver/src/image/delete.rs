//! `image delete`.

use std::sync::{Arc, PoisonError};

use bulkhead_api::error::ApiError;
use bulkhead_state::Change;

use crate::error::{invalid_state, not_found};
use crate::service::Service;

/// Takes a name away; the content follows in the background once no name and no container needs it.
///
/// Returns the full name. Refused when it is the last name of an image that a container cannot start without.
pub(crate) async fn delete(service: &Arc<Service>, text: &str) -> Result<String, ApiError> {
    let images = &service.images;
    let record = images.existing(text)?;
    let is_id = images.is_id(text);
    let digest = &record.descriptor.digest;
    let committed = {
        let mut names = images.names.write().unwrap_or_else(PoisonError::into_inner);
        let others = names
            .values()
            .any(|other| other.descriptor.digest == *digest && other.reference != record.reference);
        if others && is_id {
            return Err(invalid_state(format!("image '{text}' has several names"))
                .with_hint("Delete them by their names: container image list"));
        }
        if !others && let Some(user) = service.containers.images().get(digest) {
            return Err(invalid_state(format!("image '{}' is used by container '{user}'", record.reference)));
        }
        if names.remove(&record.reference).is_none() {
            return Err(not_found(format!("image '{}' not found", record.reference)));
        }
        images.records.submit(Change::DeleteImage { reference: record.reference.clone() })
    };
    committed.wait().await?;
    super::collect::later(service);
    Ok(record.reference)
}
