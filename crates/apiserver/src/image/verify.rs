//! `image verify`.

use bulkhead_api::error::ApiError;
use bulkhead_api::request::VerifyImageResponse;

use super::{Images, digest_of, from_store};
use crate::error::failed;

impl Images {
    /// Reads all of an image. What is damaged and cannot be mended here is an error that says how to mend it.
    pub(crate) async fn verify(&self, text: &str) -> Result<VerifyImageResponse, ApiError> {
        let record = self.existing(text)?;
        let (store, digest) = (self.store.clone(), digest_of(&record.descriptor)?);
        let repaired = tokio::task::spawn_blocking(move || store.repair(&digest))
            .await
            .map_err(|error| failed("cannot verify an image", &error))?
            .map_err(|error| from_store(&record.reference, &error))?;
        for diff_id in &repaired {
            tracing::warn!(reference = record.reference, %diff_id, "a damaged layer was made anew");
        }
        let repaired = repaired.iter().map(ToString::to_string).collect();
        Ok(VerifyImageResponse { reference: record.reference, repaired })
    }
}
