//! `image pull`, and the pull of an image that `run` misses.

use bulkhead_api::error::ApiError;
use bulkhead_api::request::PullRequest;
use bulkhead_image_store::PullOptions;

use super::progress::Progress;
use super::{Found, Images, convert, from_store, id, parse_platform, parse_scheme};
use crate::error::invalid;
use crate::events::EventSink;

impl Images {
    /// Fetches an image and names it. Dropping the future cancels it.
    pub(crate) async fn pull(&self, request: &PullRequest, sink: &EventSink) -> Result<Found, ApiError> {
        self.pull_announced(request, None, sink).await
    }

    /// As [`Self::pull`]; `announcement` is told when there turns out to be anything to fetch.
    pub(crate) async fn pull_announced(
        &self,
        request: &PullRequest,
        announcement: Option<String>,
        sink: &EventSink,
    ) -> Result<Found, ApiError> {
        if id::is_certain(&request.reference) {
            return Err(invalid(format!("'{}' is an id, and images are pulled by name", request.reference)));
        }
        let reference = self.parse(&request.reference)?;
        let platform = parse_platform(request.platform.as_deref())?;
        let scheme = parse_scheme(request.scheme.as_deref())?;
        let options = PullOptions {
            scheme,
            local_domain: self.local_domain.clone(),
            max_concurrent_downloads: request.maximum_concurrent_downloads.unwrap_or(0),
            credentials: self.credentials(&reference, request.registry_login.as_ref(), sink).await?,
        };
        let progress = Progress::announced(sink, announcement);
        let pulled = self
            .store
            .pull(&reference, Some(&platform), options, move |event| progress.report(event))
            .await
            .map_err(|error| from_store(&reference.to_string(), &error))?;
        let name = pulled.reference.to_string();
        let descriptor = convert::descriptor(&pulled.descriptor);
        self.name(name.clone(), descriptor.clone()).await?;
        // That of the pull knows nothing of what the image is resolved to.
        let lease = self.store.lease(std::slice::from_ref(&pulled.descriptor.digest));
        let image = self.store.image(&pulled.descriptor.digest, &platform);
        let image = image.map_err(|error| from_store(&name, &error))?;
        // The name may be taken away at once; whoever waited for the image still has it.
        Ok(Found { reference: name, descriptor, image, _lease: lease })
    }
}
