//! All files together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bulkhead_api::size::parse_bytes;

use crate::document::Document;
use crate::keys::{self, Default, Key};
use crate::registry_hosts::RegistryHost;
use crate::value::Value;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No file has it.
    Default,
    /// This file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// A value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// The values in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    settings: BTreeMap<(&'static str, &'static str), Setting>,
}

impl Configuration {
    /// For each key the first document that has it wins, then the default.
    #[must_use]
    pub fn merge(documents: &[Document]) -> Self {
        let settings = keys::ALL.iter().filter_map(|key| {
            let found = documents.iter().find_map(|document| Some((document, document.value(key)?)));
            let (value, origin) = match found {
                Some((document, value)) => (value.clone(), Origin::File(document.path().to_owned())),
                None => (default_of(key)?, Origin::Default),
            };
            Some(((key.section, key.name), Setting { key, value, origin }))
        });
        Self { settings: settings.collect() }
    }

    /// Every key in the order of [`keys::ALL`], with its value in force if it has one.
    pub fn all(&self) -> impl Iterator<Item = (&'static Key, Option<&Setting>)> {
        keys::ALL.iter().map(|key| (key, self.settings.get(&(key.section, key.name))))
    }

    /// The value of a [`keys::Kind::Count`].
    #[must_use]
    pub fn count(&self, key: &Key) -> Option<u32> {
        match self.value(key)? {
            Value::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// The value of a [`keys::Kind::Size`].
    #[must_use]
    pub fn size_bytes(&self, key: &Key) -> Option<u64> {
        match self.value(key)? {
            Value::Size { bytes, .. } => Some(*bytes),
            _ => None,
        }
    }

    /// The value of a text, a path or a subnet.
    #[must_use]
    pub fn text(&self, key: &Key) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a [`keys::Kind::RegistryHosts`].
    #[must_use]
    pub fn registry_hosts(&self, key: &Key) -> &[RegistryHost] {
        match self.value(key) {
            Some(Value::RegistryHosts(hosts)) => hosts,
            _ => &[],
        }
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        self.settings.get(&(key.section, key.name)).map(|setting| &setting.value)
    }
}

fn default_of(key: &Key) -> Option<Value> {
    match (key.kind, key.default) {
        (_, Default::Absent | Default::Described(_)) => None,
        (_, Default::Count(count)) => Some(Value::Count(count)),
        (keys::Kind::Size { .. }, Default::Text(text)) => {
            Some(Value::Size { text: text.to_owned(), bytes: parse_bytes(text)? })
        }
        (_, Default::Text(text)) => Some(Value::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_has_a_key_wins() {
        let user = Document::parse("/user".as_ref(), "[container]\ncpus = 2").unwrap();
        let system = "[container]\ncpus = 8\nmemory = \"2g\"\n[dns]\ndomain = \"test\"";
        let system = Document::parse("/system".as_ref(), system).unwrap();
        let configuration = Configuration::merge(&[user, system]);
        assert_eq!(configuration.count(&keys::CONTAINER_CPUS), Some(2));
        assert_eq!(configuration.size_bytes(&keys::CONTAINER_MEMORY), Some(2 << 30));
        assert_eq!(configuration.text(&keys::DNS_DOMAIN), Some("test"));
        assert_eq!(configuration.text(&keys::REGISTRY_DOMAIN), Some("docker.io"));
        assert_eq!(configuration.text(&keys::VMINIT_IMAGE), None);
        let shown: Vec<String> = configuration
            .all()
            .filter_map(|(_, setting)| setting)
            .map(|setting| format!("{}={} {}", setting.key.name, setting.value, setting.origin))
            .collect();
        let expected = [
            "cpus=2 /user",
            "memory=2g /system",
            "diskSize=64g default",
            "domain=test /system",
            "domain=docker.io default",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        let configuration = Configuration::merge(&[]);
        for key in keys::ALL {
            let has_value = !matches!(key.default, Default::Absent | Default::Described(_));
            assert_eq!(configuration.value(key).is_some(), has_value, "{}.{}", key.section, key.name);
            // Whoever asks what is in force gets an answer for each key that does something.
            assert_eq!(key.default != Default::Absent, key.has_effect, "{}.{}", key.section, key.name);
        }
        assert_eq!(configuration.all().count(), keys::ALL.len());
    }
}
