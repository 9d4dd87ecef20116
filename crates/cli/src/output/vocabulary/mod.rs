//! What templates can ask of objects: the keys of their JSON, and Docker's words for the same.
//!
//! Keys that are absent from one object are known from examples, which have all: those are struct
//! expressions, so that a new key cannot be forgotten here.

mod container;
mod container_details;
mod image;
mod network;
mod process;
mod statistics;
mod system;
mod time;
mod volume;

use std::collections::BTreeMap;

use bulkhead_api::error::ErrorCode;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::template::{ANY_KEY, Template, Vocabulary};

pub(crate) use container_details::ContainerDetails;
pub(crate) use system::{DiskUsageRow, VersionPair};

/// An object that templates can be applied to.
pub(crate) trait Templated: Serialize + Sized + 'static {
    /// Objects that have every key among them; where users choose the keys, [`ANY_KEY`].
    fn examples() -> Vec<Self>;

    /// Its parts as Docker calls them; null where it has no words for them.
    fn words(&self) -> Value {
        Value::Null
    }

    /// All that can be asked.
    fn vocabulary() -> Vocabulary {
        let examples = Self::examples();
        let json: Vec<_> = examples.iter().filter_map(|example| serde_json::to_value(example).ok()).collect();
        let words: Vec<_> = examples.iter().map(Self::words).collect();
        Vocabulary::of_examples(&json, &words)
    }
}

/// What a template says of each of these objects, a line or row each.
pub(super) fn apply<T: Templated>(objects: &[T], template: &Template) -> Result<String, Failure> {
    let vocabulary = T::vocabulary();
    let mut texts = Vec::with_capacity(objects.len());
    for object in objects {
        let json = super::render::to_value(object)?;
        let text = template.apply(json, object.words(), &vocabulary).map_err(|error| {
            Failure::caused_by(ErrorCode::InvalidArgument, "the template does not fit what is shown", &error)
        })?;
        texts.push(text);
    }
    if !template.is_table() {
        return Ok(texts.into_iter().map(|text| text + "\n").collect());
    }
    let cells = |line: &str| -> Vec<String> { line.split('\t').map(str::to_owned).collect() };
    let rows: Vec<_> = texts.iter().flat_map(|text| text.lines()).map(cells).collect();
    let mut header = cells(&template.header());
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(header.len());
    header.resize(columns, String::new());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    Ok(super::render::table(&header, &rows))
}

/// The example of labels and other maps whose keys users choose.
fn any_keys() -> BTreeMap<String, String> {
    BTreeMap::from([(ANY_KEY.to_owned(), String::new())])
}

/// `a=b,c=d`
fn pairs(map: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// As Docker writes sizes: three digits, decimal units.
fn size(bytes: u64) -> String {
    with_unit(bytes, 1000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// As Docker writes memory.
fn binary_size(bytes: u64) -> String {
    with_unit(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn with_unit(bytes: u64, base: u64, units: &[&str]) -> String {
    let mut unit_bytes: u64 = 1;
    let mut units = units.iter();
    let mut unit = units.next();
    while bytes / unit_bytes >= base
        && let Some(larger) = units.next()
    {
        unit_bytes *= base;
        unit = Some(larger);
    }
    // Bytes of any disk fit into 128 bits a thousand times.
    let hundredths = u128::from(bytes) * 100 / u128::from(unit_bytes);
    let digits = match hundredths {
        _ if unit_bytes == 1 => bytes.to_string(),
        0..1000 => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        1000..10_000 => format!("{}.{}", hundredths / 100, hundredths / 10 % 10),
        _ => (hundredths / 100).to_string(),
    };
    let short =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{short}{}", unit.unwrap_or(&""))
}

impl Templated for String {
    fn examples() -> Vec<Self> {
        vec![Self::new()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of all words, those below them as well.
    fn keys(words: &Value, found: &mut Vec<String>) {
        match words {
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            Value::Object(members) => {
                for (key, value) in members.iter().filter(|(key, _)| *key != ANY_KEY) {
                    found.push(key.clone());
                    keys(value, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_word_is_in_the_documentation() {
        use bulkhead_api::container::ContainerSnapshot;
        use bulkhead_api::image::ImageResource;
        use bulkhead_api::network::NetworkResource;
        use bulkhead_api::system::SystemStatus;
        use bulkhead_api::system_event::SystemEvent;
        use bulkhead_api::volume::VolumeResource;

        use crate::output::statistics::Sample;

        fn of<T: Templated>() -> Value {
            Value::Array(T::examples().iter().map(T::words).collect())
        }
        let mut found = Vec::new();
        for words in [
            of::<ContainerSnapshot>(),
            of::<ContainerDetails>(),
            of::<ImageResource>(),
            of::<VolumeResource>(),
            of::<NetworkResource>(),
            of::<Sample>(),
            of::<SystemEvent>(),
            of::<DiskUsageRow>(),
            of::<VersionPair>(),
            of::<SystemStatus>(),
        ] {
            keys(&words, &mut found);
        }
        let text = include_str!("../../../../../docs/templates.md");
        let is_missing = |key: &&String| {
            ![format!("`.{key}`"), format!("`.{key} \"KEY\"`")].iter().any(|word| text.contains(word))
        };
        let missing: Vec<_> = found.iter().filter(is_missing).collect();
        assert!(missing.is_empty() && found.len() > 100, "{missing:?} of {}", found.len());
    }

    #[test]
    fn sizes_are_dockers() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (7_834_567, "7.83MB"),
            (78_345_678, "78.3MB"),
            (187_654_321, "187MB"),
            (1_000_000_000, "1GB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(binary_size(1 << 30), "1GiB");
        assert_eq!(binary_size(3 << 19), "1.5MiB");
    }
}
