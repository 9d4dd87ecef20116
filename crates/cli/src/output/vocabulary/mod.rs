//! What templates can ask of objects: the keys of their JSON, and Docker's words for the same.
//!
//! Keys that are absent from one object are known from examples, which have all: those are struct
//! expressions, so that a new key cannot be forgotten here.

mod container;
mod container_details;
mod history;
mod host_configuration;
mod image;
mod network;
mod process;
mod statistics;
mod system;
mod time;
mod volume;

use std::collections::BTreeMap;

use bulkhead_api::error::{ApiError, ErrorCode};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::template::{ANY_KEY, Template, Vocabulary};

pub(crate) use container_details::ContainerDetails;
pub(crate) use history::HistoryRow;
pub(crate) use image::ImageDetails;
pub(crate) use network::NetworkDetails;
pub(crate) use system::{DiskUsageRow, VersionPair};
pub(crate) use volume::VolumeDetails;

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

/// What a template says of each of these objects, a line or row each. Where it does not fit one, the others
/// are shown all the same.
pub(super) fn apply<T: Templated>(objects: &[T], template: &Template) -> Result<String, Failure> {
    let vocabulary = T::vocabulary();
    let mut texts = Vec::with_capacity(objects.len());
    let mut errors = Vec::new();
    for object in objects {
        let json = super::render::to_value(object)?;
        let id = json.get("id").and_then(Value::as_str).map(|id| format!("'{id}'"));
        match template.apply(json, object.words(), &vocabulary) {
            Ok(text) => texts.push(text),
            Err(error) => {
                let what = id.unwrap_or_else(|| "what is shown".to_owned());
                let message = format!("the template does not fit {what}");
                errors.push(ApiError::caused_by(ErrorCode::InvalidArgument, message, &error));
            }
        }
    }
    let shown = match template.is_table() {
        true => table(&texts, template),
        false => texts.into_iter().map(|text| text + "\n").collect(),
    };
    if errors.is_empty() { Ok(shown) } else { Err(Failure::Partly { shown, errors }) }
}

fn table(texts: &[String], template: &Template) -> String {
    let cells = |line: &str| -> Vec<String> { line.split('\t').map(str::to_owned).collect() };
    let rows: Vec<_> = texts.iter().flat_map(|text| text.split('\n')).map(cells).collect();
    let mut header = cells(&template.header());
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(header.len());
    header.resize(columns, String::new());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    // The last row may be empty, too.
    super::render::table(&header, &rows) + "\n"
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

/// These words, some of them replaced or added.
fn replaced(mut words: Value, others: Value) -> Value {
    if let (Value::Object(words), Value::Object(others)) = (&mut words, others) {
        words.extend(others);
    }
    words
}

#[cfg(test)]
mod tests {
    use bulkhead_api::image::ImageResource;
    use bulkhead_api::network::NetworkResource;
    use bulkhead_api::volume::VolumeResource;

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
        use bulkhead_api::system::SystemStatus;
        use bulkhead_api::system_event::SystemEvent;

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
            of::<ImageDetails>(),
            of::<VolumeDetails>(),
            of::<NetworkDetails>(),
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
    fn each_object_has_its_row() {
        let of = |text: &str, ids: &[&str]| {
            let template = Template::new(text, &String::vocabulary()).unwrap();
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            apply(&ids, &template).unwrap()
        };
        assert_eq!(of("table {{.}}", &["a", "", "b", ""]), "\na\n\nb\n\n");
        assert_eq!(of("table x{{.}}\\t{{.}}", &["a", ""]), "x   \nxa  a\nx   \n");
        assert_eq!(of("{{.}}", &["", "b"]), "\nb\n");
    }

    #[test]
    fn an_object_that_the_template_does_not_fit_hides_no_other() {
        let volume = |id: &str| {
            let mut volume = VolumeResource::examples().remove(0);
            id.clone_into(&mut volume.id);
            volume
        };
        let template = Template::new("{{index (split .id \"-\") 1}}", &VolumeResource::vocabulary()).unwrap();
        match apply(&[volume("a-1"), volume("odd"), volume("b-2"), volume("")], &template) {
            Err(Failure::Partly { shown, errors }) => {
                assert_eq!(shown, "1\n2\n");
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                assert_eq!(errors.len(), 2);
                assert!(errors[0].contains("the template does not fit 'odd'"), "{errors:?}");
                assert!(errors[0].contains("there is nothing at 1: the length is 1"), "{errors:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn inspect_has_values_where_lists_have_texts() {
        fn of<T: Templated>(object: T, text: &str) -> String {
            apply(&[object], &Template::new(text, &T::vocabulary()).unwrap()).unwrap()
        }
        let labels: BTreeMap<_, _> = [("tier".to_owned(), "back".to_owned())].into();
        let mut volume = VolumeResource::examples().remove(0);
        volume.configuration.labels.clone_from(&labels);
        let text = "{{index .Labels \"tier\"}} {{json .Labels}}";
        assert_eq!(of(VolumeDetails(volume.clone()), text), "back {\"tier\":\"back\"}\n");
        assert_eq!(of(volume.clone(), "{{.Labels}}"), "tier=back\n");
        volume.configuration.labels.clear();
        assert_eq!(of(VolumeDetails(volume), "{{json .Labels}}{{.Label \"tier\"}}"), "{}\n");
        let mut network = NetworkResource::examples().remove(0);
        network.configuration.labels = labels;
        assert_eq!(of(NetworkDetails(network), text), "back {\"tier\":\"back\"}\n");
        let mut image = ImageResource::examples().remove(0);
        image.id = "0123456789abcdef".to_owned();
        image.variants[0].size = 1_290_000;
        assert_eq!(of(image.clone(), "{{.Size}} {{.ID}}"), "1.29MB 0123456789ab\n");
        assert_eq!(of(ImageDetails(image), "{{.Size}} {{.ID}}"), "1290000 sha256:0123456789abcdef\n");
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
