//! References, digests, platforms and media types: what parses must survive being written and parsed again.
#![no_main]

use bulkhead_oci::{Digest, MediaType, Platform, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let again: Reference = reference.to_string().parse().expect("the full name is a reference");
        assert_eq!(again.to_string(), reference.to_string());
        assert!(!reference.repository().contains(".."), "{reference}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        drop(platform.to_string());
    }
    let kind = MediaType::parse(text);
    assert_eq!(MediaType::parse(kind.as_str()), kind);
});
