//! `image list` and `image inspect`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bulkhead_api::error::ApiError;
use bulkhead_api::image::{ImageEntry, ImageResource, ImageVariant};
use bulkhead_image_store::Store;
use bulkhead_oci::Digest;
use bulkhead_state::ImageRecord;

use super::{Images, convert, digest_of, from_store};
use crate::error::failed;

impl Images {
    /// All images, by name. One that is damaged is left out and logged.
    pub(crate) async fn list(&self) -> Result<Vec<ImageResource>, ApiError> {
        let (store, records) = (self.store.clone(), self.all());
        let read = move || {
            // Names of one image are common, and it is read once for all of them.
            let mut known = HashMap::new();
            records
                .into_iter()
                .filter_map(|record| {
                    let reference = record.reference.clone();
                    resource(&store, record, &mut known)
                        .inspect_err(|error| tracing::warn!(reference, "image left out of the list: {error}"))
                        .ok()
                })
                .collect()
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| failed("cannot list images", &error))
    }

    /// Those of damaged images as well: they can be deleted and mended.
    pub(crate) fn all_names(&self) -> Vec<String> {
        self.all().into_iter().map(|record| record.reference).collect()
    }

    pub(crate) async fn inspect(&self, reference: &str) -> Result<ImageResource, ApiError> {
        let (store, record) = (self.store.clone(), self.existing(reference)?);
        tokio::task::spawn_blocking(move || resource(&store, record, &mut HashMap::new()))
            .await
            .map_err(|error| failed("cannot inspect an image", &error))?
    }
}

/// Takes the variants from `known`, or reads them and leaves them there.
fn resource(
    store: &Store,
    record: ImageRecord,
    known: &mut HashMap<Digest, Vec<ImageVariant>>,
) -> Result<ImageResource, ApiError> {
    let digest = digest_of(&record.descriptor)?;
    let variants = match known.entry(digest) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let variants = store.variants(&digest).map_err(|error| from_store(&record.reference, &error))?;
            entry.insert(variants.into_iter().map(convert::variant).collect())
        }
    };
    Ok(ImageResource {
        id: digest.hex(),
        configuration: ImageEntry {
            creation_date: record.creation_date,
            name: record.reference,
            descriptor: record.descriptor,
        },
        variants: variants.clone(),
    })
}
