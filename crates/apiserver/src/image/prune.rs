//! `image prune`.

use std::sync::{Arc, PoisonError};

use bulkhead_api::error::ApiError;
use bulkhead_api::request::{PruneImagesRequest, PruneImagesResponse};
use bulkhead_oci::Reference;
use bulkhead_state::{Change, ImageRecord};

use super::collect;
use crate::service::Service;

/// Takes away the names of images that nobody needs, then removes all content that nothing leads to.
pub(crate) async fn prune(
    service: &Arc<Service>,
    request: PruneImagesRequest,
) -> Result<PruneImagesResponse, ApiError> {
    let images = &service.images;
    let mut references = Vec::new();
    let mut commits = Vec::new();
    {
        let mut names = images.names.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: a container that is created from now on finds no name, one that found it holds a lease.
        let used = service.containers.images();
        names.retain(|reference, record| {
            let keep = used.contains_key(&record.descriptor.digest) || !(request.all || is_dangling(record));
            if !keep {
                references.push(reference.clone());
                commits.push(images.records.submit(Change::DeleteImage { reference: reference.clone() }));
            }
            keep
        });
    }
    for committed in commits {
        committed.wait().await?;
    }
    let collected = collect::now(service).await?;
    let digests = collected.blobs.iter().map(ToString::to_string).collect();
    Ok(PruneImagesResponse { references, digests, reclaimed_bytes: collected.freed_bytes })
}

/// Without a tag, such as an image that was loaded from an archive which names none.
fn is_dangling(record: &ImageRecord) -> bool {
    record.reference.parse::<Reference>().is_ok_and(|reference| reference.tag().is_none())
}
