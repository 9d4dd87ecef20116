//! The store's types as the interface shows them.

use bulkhead_api::container::{Descriptor, Platform};
use bulkhead_api::image::{HistoryEntry, ImageDefaults, ImageRoot, ImageVariant, VariantConfiguration};
use bulkhead_image_store::Variant;

pub(super) fn descriptor(descriptor: &bulkhead_oci::Descriptor) -> Descriptor {
    Descriptor {
        media_type: descriptor.media_type.as_str().to_owned(),
        digest: descriptor.digest.to_string(),
        size: descriptor.size_bytes,
        urls: (!descriptor.urls.is_empty()).then(|| descriptor.urls.clone()),
        annotations: (!descriptor.annotations.is_empty()).then(|| descriptor.annotations.clone()),
        platform: descriptor.platform.clone().map(platform),
        artifact_type: descriptor.artifact_type.clone(),
    }
}

fn platform(platform: bulkhead_oci::Platform) -> Platform {
    Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant }
}

pub(super) fn variant(variant: Variant) -> ImageVariant {
    let configuration = &variant.configuration;
    ImageVariant {
        platform: platform(variant.platform),
        digest: variant.descriptor.digest.to_string(),
        size: variant.size_bytes,
        config: VariantConfiguration {
            created: configuration.created.clone(),
            author: configuration.author.clone(),
            architecture: configuration.architecture.clone(),
            os: configuration.os.clone(),
            config: configuration.config.as_ref().map(defaults),
            rootfs: ImageRoot {
                kind: configuration.rootfs.kind.clone(),
                diff_ids: configuration.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
            },
            history: configuration.history.iter().map(history).collect(),
        },
    }
}

fn defaults(defaults: &bulkhead_oci::ContainerConfiguration) -> ImageDefaults {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    ImageDefaults {
        user: text(&defaults.user),
        env: (!defaults.env.is_empty()).then(|| defaults.env.clone()),
        entrypoint: defaults.entrypoint.clone(),
        cmd: defaults.cmd.clone(),
        working_dir: text(&defaults.working_dir),
        labels: (!defaults.labels.is_empty()).then(|| defaults.labels.clone()),
        stop_signal: defaults.stop_signal.clone(),
    }
}

fn history(entry: &bulkhead_oci::History) -> HistoryEntry {
    HistoryEntry {
        created: entry.created.clone(),
        created_by: entry.created_by.clone(),
        author: entry.author.clone(),
        comment: entry.comment.clone(),
        empty_layer: entry.empty_layer.then_some(true),
    }
}
