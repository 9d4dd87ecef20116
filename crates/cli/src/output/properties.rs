//! Configured values.

use std::fmt::Write;

use bulkhead_api::system::Property;
use serde_json::{Map, Value};

use super::escape;

/// A configuration file that says the same, with the origin of each value behind it.
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
        let value = match &property.value {
            Value::String(string) => toml::Value::String(string.clone()).to_string(),
            other => other.to_string(),
        };
        let origin = escape::text(&property.origin);
        let _ = writeln!(text, "{} = {value} # {origin}", escape::text(&property.key));
    }
    text
}

/// Sections of keys, and `origins` beside them.
pub(crate) fn tree(properties: &[Property]) -> Value {
    let mut sections = Map::new();
    let mut origins = Map::new();
    for property in properties {
        let section = sections.entry(&property.section).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(keys) = section {
            keys.insert(property.key.clone(), property.value.clone());
        }
        let name = format!("{}.{}", property.section, property.key);
        origins.insert(name, Value::String(property.origin.clone()));
    }
    sections.insert("origins".to_owned(), Value::Object(origins));
    Value::Object(sections)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn property(section: &str, key: &str, value: Value, origin: &str) -> Property {
        Property { section: section.to_owned(), key: key.to_owned(), value, origin: origin.to_owned() }
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
}
