//! Manifests, indexes and configurations that nobody thought of.

use std::collections::BTreeMap;

use bulkhead_oci::{
    ContainerConfiguration, Descriptor, Digest, Document, ImageConfiguration, Index, Manifest, MediaType,
    Platform, RootFilesystem,
};
use proptest::prelude::*;
use proptest::sample::Index as Place;

const CONFIGURATIONS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYERS: &[&str] = &[
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "text/odd",
];
const MANIFESTS: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "text/odd",
];

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 8]>().prop_map(|content| Digest::of(&content))
}

fn platform() -> impl Strategy<Value = Platform> {
    let variant = proptest::option::of("v[0-9]");
    ("linux|windows", "amd64|arm64|arm|s390x", variant).prop_map(|(os, architecture, variant)| Platform {
        os,
        architecture,
        variant,
        os_version: None,
    })
}

fn descriptor(kinds: &'static [&'static str]) -> impl Strategy<Value = Descriptor> {
    let notes = proptest::collection::btree_map("\\PC{0,9}", "\\PC{0,9}", 0..3);
    let kind = proptest::sample::select(kinds);
    (kind, digest(), any::<u64>(), notes, proptest::option::of(platform())).prop_map(
        |(kind, digest, size_bytes, annotations, platform)| Descriptor {
            annotations,
            platform,
            ..Descriptor::new(MediaType::parse(kind), digest, size_bytes)
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let kind = proptest::sample::select(&MANIFESTS[..2]).prop_map(MediaType::parse);
    let layers = proptest::collection::vec(descriptor(LAYERS), 0..5);
    (kind, descriptor(CONFIGURATIONS), layers).prop_map(|(media_type, config, layers)| Manifest {
        schema_version: 2,
        media_type,
        config,
        layers,
        annotations: BTreeMap::new(),
    })
}

fn index() -> impl Strategy<Value = Index> {
    proptest::collection::vec(descriptor(MANIFESTS), 0..5).prop_map(|manifests| Index {
        schema_version: 2,
        media_type: MediaType::OciIndex,
        manifests,
        annotations: BTreeMap::new(),
    })
}

fn configuration() -> impl Strategy<Value = ImageConfiguration> {
    let words = || proptest::collection::vec("[^\0]{0,20}", 0..4);
    let paths = proptest::collection::btree_set("\\PC{0,9}", 0..3);
    let run = ("[^\0]{0,9}", words(), proptest::option::of(words()), paths).prop_map(
        |(user, env, cmd, volumes)| ContainerConfiguration {
            user,
            env,
            cmd,
            volumes: volumes.into_iter().collect(),
            ..ContainerConfiguration::default()
        },
    );
    let layers = proptest::collection::vec(digest(), 0..4);
    (platform(), proptest::option::of(run), layers).prop_map(|(platform, config, diff_ids)| {
        ImageConfiguration {
            os: platform.os,
            architecture: platform.architecture,
            variant: platform.variant,
            config,
            rootfs: RootFilesystem { diff_ids, ..RootFilesystem::default() },
            ..ImageConfiguration::default()
        }
    })
}

/// Bytes to replace, and where to cut how many out.
type Damage = (Vec<(Place, u8)>, (Place, usize));

fn damage() -> impl Strategy<Value = Damage> {
    // What JSON is made of leads further than any byte.
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(&b"{}[]\",:0-n\\"[..])];
    (proptest::collection::vec((any::<Place>(), byte), 0..4), (any::<Place>(), 0..9_usize))
}

fn damaged(mut bytes: Vec<u8>, (replaced, (cut, length)): &Damage) -> Vec<u8> {
    for (place, byte) in replaced {
        let place = place.index(bytes.len());
        bytes[place] = *byte;
    }
    let start = cut.index(bytes.len());
    let end = bytes.len().min(start + length);
    bytes.drain(start..end);
    bytes
}

/// All that the store asks of a document.
fn ask(document: &Document) {
    match document {
        Document::Index(index) => {
            drop(index.select(&Platform::host()).cloned());
            assert!(index.images().count() <= index.manifests.len());
        }
        Document::Manifest(manifest) => {
            for layer in &manifest.layers {
                assert!(
                    layer.media_type.layer_compression().is_none() || layer.media_type.as_str() != "text/odd"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn manifests_and_indexes_round_trip(manifest in manifest(), index in index()) {
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        prop_assert_eq!(Document::parse(&bytes, None).expect("it is one"), Document::Manifest(manifest));
        let bytes = serde_json::to_vec(&index).expect("an index is JSON");
        prop_assert_eq!(Document::parse(&bytes, None).expect("it is one"), Document::Index(index));
    }

    #[test]
    fn configurations_round_trip(configuration in configuration()) {
        let bytes = serde_json::to_vec(&configuration).expect("a configuration is JSON");
        prop_assert_eq!(ImageConfiguration::parse(&bytes).expect("it is one"), configuration);
    }

    #[test]
    fn damaged_documents_are_refused_or_sound(
        manifest in manifest(),
        index in index(),
        configuration in configuration(),
        damage in damage(),
    ) {
        for text in [serde_json::to_vec(&manifest), serde_json::to_vec(&index)] {
            let bytes = damaged(text.expect("JSON"), &damage);
            for announced in [None, Some(MediaType::OciIndex), Some(MediaType::DockerManifest)] {
                if let Ok(document) = Document::parse(&bytes, announced.as_ref()) {
                    ask(&document);
                }
            }
        }
        let bytes = damaged(serde_json::to_vec(&configuration).expect("JSON"), &damage);
        if let Ok(configuration) = ImageConfiguration::parse(&bytes) {
            drop(configuration.platform().to_string());
            let run = configuration.config.unwrap_or_default();
            prop_assert!(run.env.iter().chain([&run.user]).all(|text| !text.contains('\0')));
        }
    }

    #[test]
    fn any_text_is_a_platform_or_an_error(text in "\\PC{0,40}|[a-z0-9]{0,9}(/[a-z0-9.]{0,9}){0,3}") {
        if let Ok(platform) = text.parse::<Platform>() {
            prop_assert_eq!(platform.to_string().parse::<Platform>().expect("it was one"), platform);
        }
    }
}
