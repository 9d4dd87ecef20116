//! Garbage collection, after deletions, in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bulkhead_api::error::ApiError;
use bulkhead_image_store::Collected;
use bulkhead_oci::Digest;

use crate::error::failed;
use crate::service::Service;

/// Keeps collections from running beside each other.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Somebody asked since the last collection began.
    wanted: AtomicBool,
    running: tokio::sync::Mutex<()>,
}

/// Collects soon; requests that come in a row share one collection.
pub(crate) fn later(service: &Arc<Service>) {
    let service = Arc::clone(service);
    let collector = Arc::clone(&service.images.collector);
    if collector.wanted.swap(true, Ordering::AcqRel) {
        return;
    }
    tokio::spawn(async move {
        let _alone = collector.running.lock().await;
        collector.wanted.store(false, Ordering::Release);
        match collect(&service).await {
            Ok(collected) => tracing::info!(
                blobs = collected.blobs.len(),
                freed_bytes = collected.freed_bytes,
                "collected unused image content"
            ),
            Err(error) => tracing::warn!("{error}"),
        }
    });
}

/// Collects now; tells what came of it.
pub(super) async fn now(service: &Arc<Service>) -> Result<Collected, ApiError> {
    let _alone = service.images.collector.running.lock().await;
    collect(service).await
}

async fn collect(service: &Arc<Service>) -> Result<Collected, ApiError> {
    const FAILED: &str = "cannot remove unused image content";
    let service = Arc::clone(service);
    tokio::task::spawn_blocking(move || service.images.store.remove_unreferenced(|| roots(&service)))
        .await
        .map_err(|error| failed(FAILED, &error))?
        .map_err(|error| failed(FAILED, &error))
}

/// What names and containers lead to.
fn roots(service: &Service) -> Vec<Digest> {
    let named = service.images.all().into_iter().map(|record| record.descriptor.digest);
    let used = service.containers.images().into_keys();
    named.chain(used).filter_map(|digest| digest.parse().ok()).collect()
}
