//! `image pull`, and the pull of an image that `run` misses.

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::request::PullRequest;
use bulkhead_image_store::PullOptions;
use bulkhead_registry::Scheme;

use super::progress::Progress;
use super::{Images, convert, from_store, parse_platform};
use crate::events::EventSink;

impl Images {
    /// Fetches an image and names it; returns the full reference. Dropping the future cancels it.
    pub(crate) async fn pull(&self, request: &PullRequest, sink: &EventSink) -> Result<String, ApiError> {
        let reference = self.parse(&request.reference)?;
        let platform = parse_platform(request.platform.as_deref())?;
        let scheme = match &request.scheme {
            None => Scheme::Auto,
            Some(text) => text.parse().map_err(|error| {
                ApiError::caused_by(ErrorCode::InvalidArgument, "the scheme cannot be understood", &error)
            })?,
        };
        let options = PullOptions {
            scheme,
            local_domain: self.local_domain.clone(),
            max_concurrent_downloads: request.maximum_concurrent_downloads.unwrap_or(0),
            credentials: None,
        };
        let progress = Progress::new(sink);
        let pulled = self
            .store
            .pull(&reference, Some(&platform), options, move |event| progress.report(event))
            .await
            .map_err(|error| from_store(&reference.to_string(), &error))?;
        let name = pulled.reference.to_string();
        self.name(name.clone(), convert::descriptor(&pulled.descriptor)).await?;
        drop(pulled.lease);
        Ok(name)
    }
}
