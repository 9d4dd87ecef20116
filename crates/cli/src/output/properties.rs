//! The keys of the configuration and their values in force.

use std::fmt::Write;

use bulkhead_api::system::Property;
use serde_json::{Map, Value};

use super::escape;

/// A configuration file that says the same, with the origin of each value behind it. Keys without a value
/// are comments.
pub(crate) fn toml(properties: &[Property]) -> String {
    let mut text = String::new();
    let mut section = None;
    for property in properties {
        if section != Some(&property.section) {
            let gap = if section.is_some() { "\n" } else { "" };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{gap}[{}]", escape::text(&property.section));
            section = Some(&property.section);
        }
        let key = escape::text(&property.key);
        let value = match &property.value {
            Value::Null => {
                let words = property.without_value.as_deref().map(escape::text);
                let words = words.map(|words| format!(": {words}")).unwrap_or_default();
                let note = if property.without_effect { "; has no effect in this version" } else { "" };
                let _ = writeln!(text, "# {key} is not set{words}{note}");
                continue;
            }
            Value::String(string) => toml::Value::String(string.clone()).to_string(),
            Value::Object(_) => toml::Value::try_from(&property.value)
                .map_or_else(|_| property.value.to_string(), |value| value.to_string()),
            other => other.to_string(),
        };
        let origin = escape::text(&property.origin);
        let note = if property.without_effect { ", has no effect" } else { "" };
        let _ = writeln!(text, "{key} = {value} # {origin}{note}");
    }
    text
}

/// What is told about keys that a file has in vain; not escaped.
pub(crate) fn warnings(properties: &[Property]) -> impl Iterator<Item = String> {
    properties.iter().filter(|property| property.without_effect && !property.value.is_null()).map(
        |property| {
            format!(
                "{}: '{}.{}' has no effect in this version",
                property.origin, property.section, property.key
            )
        },
    )
}

/// Sections of keys that have a value, and beside them the `origins` of all that have an effect, what holds
/// for those `withoutValue`, and the names of keys that are `withoutEffect`.
pub(crate) fn tree(properties: &[Property]) -> Value {
    let mut sections = Map::new();
    let mut origins = Map::new();
    let mut without_value = Map::new();
    let mut without_effect = Vec::new();
    for property in properties {
        let section = sections.entry(&property.section).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(keys) = section
            && !property.value.is_null()
        {
            keys.insert(property.key.clone(), property.value.clone());
        }
        let name = format!("{}.{}", property.section, property.key);
        if property.without_effect {
            without_effect.push(Value::String(name.clone()));
        }
        if let (Value::Null, Some(words)) = (&property.value, &property.without_value) {
            without_value.insert(name.clone(), Value::String(words.clone()));
        }
        if !property.without_effect || !property.value.is_null() {
            origins.insert(name, Value::String(property.origin.clone()));
        }
    }
    if !without_value.is_empty() {
        sections.insert("withoutValue".to_owned(), Value::Object(without_value));
    }
    if !without_effect.is_empty() {
        sections.insert("withoutEffect".to_owned(), Value::Array(without_effect));
    }
    sections.insert("origins".to_owned(), Value::Object(origins));
    Value::Object(sections)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn property(section: &str, key: &str, value: Value, origin: &str) -> Property {
        Property {
            section: section.to_owned(),
            key: key.to_owned(),
            value,
            origin: origin.to_owned(),
            without_value: None,
            without_effect: section == "build",
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let properties = [
            property("container", "cpus", json!(2), "/home/me/config.toml"),
            property("container", "memory", json!("1g"), "default"),
            property("dns", "domain", json!("a\"b"), "/x\ny"),
        ];
        let text = toml(&properties);
        assert_eq!(
            text,
            "[container]\ncpus = 2 # /home/me/config.toml\nmemory = \"1g\" # default\n\n[dns]\ndomain = \
             'a\"b' # /x\\ny\n"
        );
        let again: toml::Table = text.parse().unwrap();
        assert_eq!(again["container"]["cpus"].as_integer(), Some(2));
        assert_eq!(
            tree(&properties[..1]),
            json!({"container": {"cpus": 2}, "origins": {"container.cpus": "/home/me/config.toml"}})
        );
    }

    #[test]
    fn keys_without_a_value_are_named_and_do_not_disturb_a_reader() {
        let domain = Property {
            without_value: Some("none".to_owned()),
            ..property("dns", "domain", Value::Null, "default")
        };
        let properties = [property("build", "cpus", Value::Null, "default"), domain];
        let text = toml(&properties);
        assert_eq!(
            text,
            "[build]\n# cpus is not set; has no effect in this version\n\n[dns]\n# domain is not set: none\n"
        );
        assert!(text.parse::<toml::Table>().is_ok());
        assert_eq!(
            tree(&properties),
            json!({
                "build": {}, "dns": {}, "origins": {"dns.domain": "default"}, "withoutEffect": ["build.cpus"],
                "withoutValue": {"dns.domain": "none"}
            })
        );
        assert_eq!(warnings(&properties).count(), 0);
    }

    #[test]
    fn a_key_in_vain_is_called_so() {
        let properties = [property("build", "cpus", json!(2), "/x")];
        assert_eq!(toml(&properties), "[build]\ncpus = 2 # /x, has no effect\n");
        assert_eq!(tree(&properties)["withoutEffect"], json!(["build.cpus"]));
        assert_eq!(
            warnings(&properties).collect::<Vec<_>>(),
            ["/x: 'build.cpus' has no effect in this version"]
        );
    }
}
