//! Manifests, indexes and configurations.
#![no_main]

use bulkhead_oci::{Document, ImageConfiguration, MediaType, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for announced in [None, Some(MediaType::OciIndex), Some(MediaType::DockerManifest)] {
        if let Ok(Document::Index(index)) = Document::parse(bytes, announced.as_ref()) {
            drop(index.select(&Platform::host()).cloned());
            index.images().for_each(|descriptor| drop(descriptor.clone()));
        }
    }
    if let Ok(configuration) = ImageConfiguration::parse(bytes) {
        drop(configuration.platform().to_string());
    }
});
