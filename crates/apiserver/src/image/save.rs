//! `image save`: an archive into a descriptor.

use std::io::BufWriter;
use std::os::fd::OwnedFd;

use bulkhead_api::error::ApiError;
use bulkhead_api::request::SaveRequest;
use bulkhead_image_store::StoreError;

use super::client_file::ClientFile;
use super::{Images, digest_of, from_store, parse_platform};
use crate::error::{FULL_DISK_HINT, failed, invalid};
use crate::events::EventSink;

/// What goes to a pipe or file at once.
const BUFFER_BYTES: usize = 256 << 10;

impl Images {
    /// Writes an archive; returns the full references in the order asked for.
    pub(crate) async fn save(
        &self,
        request: &SaveRequest,
        archive: OwnedFd,
        sink: &EventSink,
    ) -> Result<Vec<String>, ApiError> {
        if request.references.is_empty() {
            return Err(invalid("no image to save is named"));
        }
        let platform = request.platform.as_deref().map(|text| parse_platform(Some(text))).transpose()?;
        let mut images = Vec::with_capacity(request.references.len());
        let mut references = Vec::with_capacity(request.references.len());
        for text in &request.references {
            let record = self.existing(text)?;
            let reference = self.parse(&record.reference)?;
            if !references.contains(&record.reference) {
                images.push((Some(reference), digest_of(&record.descriptor)?));
                references.push(record.reference);
            }
        }
        let (store, client) = (self.store.clone(), sink.clone());
        let saving = move || {
            let output = ClientFile::to_write(archive, client);
            store.save_archive(&images, platform.as_ref(), BufWriter::with_capacity(BUFFER_BYTES, output))
        };
        let saved = tokio::task::spawn_blocking(saving)
            .await
            .map_err(|error| failed("cannot save images", &error))?;
        let names = references.join("', '");
        match saved {
            Ok(()) => Ok(references),
            Err(error @ StoreError::SaveArchive(_)) => Err(failed(format!("cannot save '{names}'"), &error)),
            Err(error @ StoreError::NoSpace { .. }) => {
                Err(failed(format!("cannot save '{names}'"), &error).with_hint(FULL_DISK_HINT))
            }
            Err(error) => Err(from_store(&names, &error)),
        }
    }
}
