//! Images in tables.

use bulkhead_api::image::{ImageResource, ImageVariant};
use bulkhead_oci::Reference;

use super::render::{self, Listed};

/// In place of the tag of an image without one.
pub(crate) const NO_TAG: &str = "<none>";
/// Digits of a digest that tables show.
const DIGEST_LENGTH: usize = 24;

impl Listed for ImageResource {
    const HEADER: &'static [&'static str] = &["NAME", "TAG", "DIGEST"];

    fn row(&self) -> Vec<String> {
        let (name, tag) = name_and_tag(&self.configuration.name);
        vec![name, tag, short_digest(&self.configuration.descriptor.digest)]
    }

    fn id(&self) -> &str {
        &self.configuration.name
    }
}

/// One row for each platform.
pub(crate) fn verbose(images: &[ImageResource]) -> String {
    let header =
        ["NAME", "TAG", "INDEX DIGEST", "OS", "ARCH", "VARIANT", "FULL SIZE", "CREATED", "MANIFEST DIGEST"];
    let rows: Vec<_> = images
        .iter()
        .flat_map(|image| image.variants.iter().map(|variant| verbose_row(image, variant)))
        .collect();
    render::table(&header, &rows)
}

fn verbose_row(image: &ImageResource, variant: &ImageVariant) -> Vec<String> {
    let (name, tag) = name_and_tag(&image.configuration.name);
    vec![
        name,
        tag,
        short_digest(&image.configuration.descriptor.digest),
        variant.platform.os.clone(),
        variant.platform.architecture.clone(),
        variant.platform.variant.clone().unwrap_or_default(),
        size(variant.size),
        variant.config.created.clone().unwrap_or_default(),
        short_digest(&variant.digest),
    ]
}

pub(crate) fn name_and_tag(reference: &str) -> (String, String) {
    let none = || NO_TAG.to_owned();
    match reference.parse::<Reference>() {
        Ok(parsed) => {
            let familiar = parsed.familiar_name();
            let name = familiar.split('@').next().unwrap_or_default();
            match parsed.tag() {
                Some(tag) => {
                    (name.strip_suffix(&format!(":{tag}")).unwrap_or(name).to_owned(), tag.to_owned())
                }
                None => (name.to_owned(), none()),
            }
        }
        Err(_) => (reference.to_owned(), none()),
    }
}

fn short_digest(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    match hex.char_indices().nth(DIGEST_LENGTH) {
        Some((end, _)) => format!("{}...", &hex[..end]),
        None => hex.to_owned(),
    }
}

/// Decimal units, as registries count.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags() {
        for (reference, name, tag) in [
            ("docker.io/library/alpine:3.22", "alpine", "3.22"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b", "c"),
            ("not a reference", "not a reference", "<none>"),
        ] {
            assert_eq!(name_and_tag(reference), (name.to_owned(), tag.to_owned()));
        }
        let digest = format!("docker.io/library/alpine@sha256:{}", "a".repeat(64));
        assert_eq!(name_and_tag(&digest), ("alpine".to_owned(), "<none>".to_owned()));
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in
            [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 KB"), (3_456_789, "3.4 MB")]
        {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(size(u64::MAX), "18446744.0 TB");
    }
}
