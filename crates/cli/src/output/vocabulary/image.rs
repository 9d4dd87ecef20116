//! Images.

use bulkhead_api::image::{
    HistoryEntry, ImageDefaults, ImageEntry, ImageResource, ImageRoot, ImageVariant, VariantConfiguration,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::container::{descriptor, image_name, platform};
use super::{Templated, any_keys, replaced, size, time};
use crate::output::images;

/// Digits of an id that Docker's lists show.
pub(super) const SHORT_ID_LENGTH: usize = 12;

impl Templated for ImageResource {
    fn examples() -> Vec<Self> {
        let text = || Some(String::new());
        let texts = || Some(vec![String::new()]);
        let step = HistoryEntry {
            created: text(),
            created_by: text(),
            author: text(),
            comment: text(),
            empty_layer: Some(true),
        };
        let defaults = ImageDefaults {
            user: text(),
            env: texts(),
            entrypoint: texts(),
            cmd: texts(),
            working_dir: text(),
            labels: Some(any_keys()),
            stop_signal: text(),
        };
        let configuration = VariantConfiguration {
            created: text(),
            author: text(),
            architecture: String::new(),
            os: String::new(),
            config: Some(defaults),
            rootfs: ImageRoot { kind: String::new(), diff_ids: vec![String::new()] },
            history: vec![step],
        };
        vec![Self {
            id: String::new(),
            configuration: ImageEntry {
                creation_date: String::new(),
                name: String::new(),
                descriptor: descriptor(),
            },
            variants: vec![ImageVariant {
                platform: platform(),
                digest: String::new(),
                size: 0,
                config: configuration,
            }],
        }]
    }

    fn words(&self) -> Value {
        let name = &self.configuration.name;
        let (repository, tag) = images::name_and_tag(name);
        let digest = &self.configuration.descriptor.digest;
        let variant = self.variants.first();
        let variant_configuration = variant.map(|variant| &variant.config);
        let created = variant_configuration.and_then(|configuration| configuration.created.as_deref());
        let created = created.unwrap_or(&self.configuration.creation_date);
        let short = self.id.get(..SHORT_ID_LENGTH).unwrap_or(&self.id);
        json!({
            "ID": short,
            "Id": format!("sha256:{}", self.id),
            "Repository": repository,
            "Tag": tag,
            "RepoTags": [image_name(name)],
            "RepoDigests": [format!("{repository}@{digest}")],
            "Digest": digest,
            "Size": size(size_bytes(self)),
            "Created": created,
            "CreatedAt": time::date(created),
            "CreatedSince": time::ago(created),
            "Architecture": variant.map(|variant| &variant.platform.architecture),
            "Os": variant.map(|variant| &variant.platform.os),
            "Config": variant_configuration.and_then(|configuration| configuration.config.as_ref()),
            "RootFS": {"Layers": variant_configuration.map(|configuration| &configuration.rootfs.diff_ids)},
        })
    }
}

/// An image whose words are those of Docker's `inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ImageDetails(pub(crate) ImageResource);

impl Templated for ImageDetails {
    fn examples() -> Vec<Self> {
        ImageResource::examples().into_iter().map(Self).collect()
    }

    fn words(&self) -> Value {
        let others = json!({"ID": format!("sha256:{}", self.0.id), "Size": size_bytes(&self.0)});
        replaced(self.0.words(), others)
    }
}

/// Of all its platforms.
fn size_bytes(image: &ImageResource) -> u64 {
    image.variants.iter().map(|variant| variant.size).fold(0, u64::saturating_add)
}
