//! `image history`

use bulkhead_api::error::ApiError;
use bulkhead_api::image::HistoryStep;

use super::{Images, digest_of, from_store, parse_platform};
use crate::error::failed;

impl Images {
    /// How an image came to be, the last step first.
    pub(crate) async fn history(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> Result<Vec<HistoryStep>, ApiError> {
        let (store, record) = (self.store.clone(), self.existing(reference)?);
        let digest = digest_of(&record.descriptor)?;
        let wanted = parse_platform(platform)?;
        let is_asked_for = platform.is_some();
        let read = move || {
            let steps = store.history(&digest, &wanted, is_asked_for);
            steps.map_err(|error| from_store(&record.reference, &error))
        };
        let steps = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| failed("cannot read the history of an image", &error))??;
        let last = steps.len().saturating_sub(1);
        let shown = steps.into_iter().enumerate().map(|(index, step)| HistoryStep {
            id: (index == last).then(|| digest.hex()),
            created: step.history.created,
            created_by: step.history.created_by.unwrap_or_default(),
            size: step.size_bytes,
            comment: step.history.comment.unwrap_or_default(),
        });
        Ok(shown.rev().collect())
    }
}
