//! `image load`: an archive from a descriptor.

use std::os::fd::OwnedFd;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::request::LoadRequest;
use bulkhead_image_store::StoreError;

use super::client_file::ClientFile;
use super::progress::Progress;
use super::{Images, convert};
use crate::error::{FULL_DISK_HINT, failed, printable};
use crate::events::EventSink;

impl Images {
    /// Reads an archive; returns the full references, sorted.
    pub(crate) async fn load(
        &self,
        request: &LoadRequest,
        archive: OwnedFd,
        sink: &EventSink,
    ) -> Result<Vec<String>, ApiError> {
        let message = format!("cannot load images from '{}'", printable(&request.source));
        let (store, progress) = (self.store.clone(), Progress::new(sink));
        let archive = ClientFile::to_read(archive, sink.clone());
        let loaded =
            tokio::task::spawn_blocking(move || store.load_archive(archive, |event| progress.report(event)))
                .await
                .map_err(|error| failed(message.clone(), &error))?
                .map_err(|error| match &error {
                    StoreError::Archive(_) => {
                        ApiError::caused_by(ErrorCode::InvalidArgument, message, &error)
                    }
                    StoreError::NoSpace { .. } => failed(message, &error).with_hint(FULL_DISK_HINT),
                    _ => failed(message, &error),
                })?;
        let mut references = Vec::with_capacity(loaded.len());
        for image in loaded {
            let reference = match image.reference {
                Some(reference) => reference.to_string(),
                None => self.parse(&format!("untagged@{}", image.descriptor.digest))?.to_string(),
            };
            self.name(reference.clone(), convert::descriptor(&image.descriptor)).await?;
            drop(image.lease);
            references.push(reference);
        }
        references.sort();
        references.dedup();
        Ok(references)
    }
}
