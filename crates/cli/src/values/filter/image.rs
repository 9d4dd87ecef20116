//! Filters of `image list`, and which of its names an image has.

use std::collections::BTreeMap;
use std::str::FromStr;

use bulkhead_api::image::ImageResource;

use super::super::moment::Moment;
use super::super::{InvalidValue, invalid};
use super::label::LabelFilter;
use super::{Filter, parse, truth, unknown};
use crate::output::images;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageFilter {
    /// Its name, with or without tag.
    Reference(Pattern),
    Label(LabelFilter),
    /// Created before another image.
    Before(String),
    /// Created after another image.
    Since(String),
    /// Created before a moment.
    Until(Moment),
    /// Whether it has no name.
    Dangling(bool),
}

/// A name in which `*`, `?` and `[…]` stand for parts without slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(glob::Pattern);

impl FromStr for Pattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        glob::Pattern::new(text).map(Self).or_else(|error| invalid(format!("this is no pattern: {error}")))
    }
}

impl FromStr for ImageFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        parse(text, Self::Label, |key, value| match key {
            "reference" => Ok(Self::Reference(value.parse()?)),
            "before" => Ok(Self::Before(value.to_owned())),
            "since" => Ok(Self::Since(value.to_owned())),
            "until" => Ok(Self::Until(value.parse()?)),
            "dangling" => Ok(Self::Dangling(truth(value)?)),
            _ => unknown("reference, label, before, since, until or dangling"),
        })
    }
}

impl Filter for ImageFilter {
    type Object = ImageResource;

    fn matches(&self, image: &ImageResource, all: &[ImageResource]) -> bool {
        match self {
            Self::Reference(Pattern(pattern)) => matches_name(pattern, &image.configuration.name),
            Self::Label(label) => label.matches(&labels(image)),
            Self::Before(name) => find(all, name).is_some_and(|other| created_us(image) < created_us(other)),
            Self::Since(name) => find(all, name).is_some_and(|other| created_us(image) > created_us(other)),
            Self::Until(moment) => created_us(image).is_some_and(|created_us| created_us < moment.unix_us()),
            // All have one.
            Self::Dangling(wanted) => !wanted,
        }
    }

    fn is_label(&self) -> bool {
        matches!(self, Self::Label(_))
    }

    fn lacks(&self, all: &[ImageResource]) -> Option<&str> {
        match self {
            Self::Before(name) | Self::Since(name) if find(all, name).is_none() => Some(name),
            _ => None,
        }
    }
}

/// `demo`, `demo:latest`, or the full reference.
pub(super) fn is_named(reference: &str, wanted: &str) -> bool {
    let tail = |prefix: &str| reference.strip_prefix(prefix);
    let spellings = [Some(reference), tail("docker.io/"), tail("docker.io/library/")];
    spellings.into_iter().flatten().any(|spelling| {
        spelling == wanted || spelling.strip_suffix(":latest").is_some_and(|short| short == wanted)
    })
}

fn find<'a>(all: &'a [ImageResource], wanted: &str) -> Option<&'a ImageResource> {
    let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let by_name = all.iter().find(|image| is_named(&image.configuration.name, wanted));
    by_name.or_else(|| all.iter().find(|image| !digits.is_empty() && image.id.starts_with(digits)))
}

/// As Docker matches: the name as users write it, with its tag or without.
fn matches_name(pattern: &glob::Pattern, reference: &str) -> bool {
    let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
    let (name, tag) = images::name_and_tag(reference);
    let full = format!("{name}:{tag}");
    [name, full].iter().any(|spelling| pattern.matches_with(spelling, options))
}

/// Of all its platforms.
fn labels(image: &ImageResource) -> BTreeMap<String, String> {
    let defaults = image.variants.iter().filter_map(|variant| variant.config.config.as_ref());
    defaults.filter_map(|defaults| defaults.labels.clone()).flatten().collect()
}

/// Unix time.
fn created_us(image: &ImageResource) -> Option<i64> {
    let variant = image.variants.first().and_then(|variant| variant.config.created.as_deref());
    let created = variant.unwrap_or(&image.configuration.creation_date);
    created.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::super::select;
    use super::*;

    #[test]
    fn filters_follow_dockers_rules() {
        let image = |name: &str, id: &str, created: &str| -> ImageResource {
            serde_json::from_value(serde_json::json!({
                "id": id,
                "configuration": {"name": name, "creationDate": "2026-05-05T00:00:00Z",
                    "descriptor": {"mediaType": "", "digest": format!("sha256:{id}"), "size": 1}},
                "variants": [{"platform": {"os": "linux", "architecture": "amd64"}, "digest": "", "size": 1,
                    "config": {"created": created, "architecture": "amd64", "os": "linux",
                        "config": {"Labels": {"tier": id}},
                        "rootfs": {"type": "layers", "diff_ids": []}, "history": []}}]
            }))
            .unwrap()
        };
        let all = [
            image("docker.io/library/demo:latest", "aa", "2026-01-01T00:00:00Z"),
            image("docker.io/library/demo:2", "bb", "2026-02-01T00:00:00.5+01:00"),
            image("docker.io/team/web:1", "cc", "2026-03-01T00:00:00Z"),
        ];
        for (texts, expected) in [
            (&[][..], "aa bb cc"),
            (&["reference=demo"], "aa bb"),
            (&["reference=demo:latest"], "aa"),
            (&["reference=*:2"], "bb"),
            (&["reference=*"], "aa bb"),
            (&["reference=*/*"], "cc"),
            (&["reference=team/web", "reference=demo:[0-9]"], "bb cc"),
            (&["label=tier=aa"], "aa"),
            (&["label!=tier=aa"], "bb cc"),
            (&["before=demo:2"], "aa"),
            (&["since=demo:2"], "cc"),
            (&["since=demo"], "bb cc"),
            (&["since=demo", "before=team/web:1"], "bb"),
            (&["before=sha256:cc"], "aa bb"),
            (&["until=2026-02-15"], "aa bb"),
            (&["dangling=true"], ""),
            (&["dangling=false"], "aa bb cc"),
        ] {
            let filters: Vec<ImageFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let found = select(&filters, all.to_vec()).unwrap();
            let ids: Vec<_> = found.into_iter().map(|image| image.id).collect();
            assert_eq!(ids.join(" "), expected, "{texts:?}");
        }
        let lacking = select(&["before=absent".parse::<ImageFilter>().unwrap()], all.to_vec());
        assert!(lacking.unwrap_err().to_string().contains("'absent'"));
        for text in ["", "reference=", "reference=[", "dangling=yes", "until=soon", "color=red"] {
            assert!(text.parse::<ImageFilter>().is_err(), "{text}");
        }
    }
}
