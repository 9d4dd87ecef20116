//! `image push`.

use bulkhead_api::error::ApiError;
use bulkhead_api::request::PushRequest;
use bulkhead_image_store::PushOptions;

use super::progress::Progress;
use super::{Images, digest_of, from_store, parse_platform, parse_scheme};
use crate::events::EventSink;

impl Images {
    /// Sends an image to the registry that its name says; returns the full reference. Dropping the future cancels it.
    pub(crate) async fn push(&self, request: &PushRequest, sink: &EventSink) -> Result<String, ApiError> {
        let record = self.existing(&request.reference)?;
        let reference = self.parse(&record.reference)?;
        let platform = request.platform.as_deref().map(|text| parse_platform(Some(text))).transpose()?;
        let known_there = self
            .all()
            .into_iter()
            .filter_map(|other| {
                Some((self.parse(&other.reference).ok()?, digest_of(&other.descriptor).ok()?))
            })
            .filter(|(other, _)| other.registry() == reference.registry())
            .map(|(other, digest)| (other.repository().to_owned(), digest))
            .collect();
        let options = PushOptions {
            scheme: parse_scheme(request.scheme.as_deref())?,
            local_domain: self.local_domain.clone(),
            credentials: self.credentials(&reference, request.registry_login.as_ref(), sink).await?,
            known_there,
        };
        let progress = Progress::new(sink);
        let digest = digest_of(&record.descriptor)?;
        let pushed = self
            .store
            .push(&reference, &digest, platform.as_ref(), options, move |event| progress.report(event))
            .await
            .map_err(|error| from_store(&record.reference, &error))?;
        if let Some(platform) = pushed.only {
            sink.notice(format!(
                "'{}' is here for {platform} only: that is what was pushed, as {}",
                record.reference, pushed.descriptor.digest
            ))
            .await;
        }
        Ok(record.reference)
    }
}
