//! Disk space of images.

use bulkhead_api::error::ApiError;
use bulkhead_image_store::ContentUsage;

use super::Images;
use crate::error::failed;

impl Images {
    /// The digest behind each name, and the disk space of all content, given what must stay. Blocks.
    pub(crate) fn usage<'a>(
        &self,
        used: impl Iterator<Item = &'a String>,
    ) -> Result<(Vec<String>, ContentUsage), ApiError> {
        let used: Vec<_> = used.filter_map(|digest| digest.parse().ok()).collect();
        let usage =
            self.store.usage(&used).map_err(|error| failed("cannot measure the space of images", &error))?;
        Ok((self.all().into_iter().map(|record| record.descriptor.digest).collect(), usage))
    }
}
