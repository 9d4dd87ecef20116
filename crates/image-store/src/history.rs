//! How an image came to be, and how large each step made it.

use std::os::unix::fs::MetadataExt;

use bulkhead_oci::{Digest, History, Platform};

use crate::StoreError;
use crate::pull::no_match;
use crate::resolve::Variant;
use crate::store::Store;

/// A step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What the configuration says of it; nothing, of a layer that it does not tell of.
    pub history: History,
    /// Of its layer, unpacked; 0 if it made none.
    pub size_bytes: u64,
}

impl Store {
    /// The steps of an index or manifest for `platform`, the first one first; for whatever platform it has if it
    /// has no such and that is not `required`.
    ///
    /// # Errors
    /// When the image is not for that platform, or its documents are missing or damaged.
    pub fn history(
        &self,
        digest: &Digest,
        platform: &Platform,
        required: bool,
    ) -> Result<Vec<Step>, StoreError> {
        let variants = self.variants(digest)?;
        let rank = |variant: &Variant| platform.preference(&variant.platform);
        // Of equals the first, as everywhere.
        let best = variants.iter().rev().filter(|one| rank(one).is_some()).max_by_key(|one| rank(one));
        let any = if required { None } else { variants.first() };
        let Some(variant) = best.or(any) else {
            return Err(no_match(platform, variants.iter().map(|variant| variant.platform.clone())));
        };
        let configuration = &variant.configuration;
        let mut layers = configuration.rootfs.diff_ids.iter();
        let mut size_of_next = || layers.next().map(|diff_id| self.unpacked_bytes(diff_id));
        let mut steps: Vec<Step> = configuration
            .history
            .iter()
            .map(|history| {
                let size_bytes = if history.empty_layer { None } else { size_of_next() };
                Step { history: history.clone(), size_bytes: size_bytes.unwrap_or(0) }
            })
            .collect();
        while let Some(size_bytes) = size_of_next() {
            steps.push(Step { size_bytes, ..Step::default() });
        }
        Ok(steps)
    }

    fn unpacked_bytes(&self, diff_id: &Digest) -> u64 {
        let file = std::fs::symlink_metadata(self.inner.layout.layer(diff_id));
        // What it takes: holes of its files are holes of this one.
        file.map_or(0, |metadata| metadata.blocks().saturating_mul(512))
    }
}
