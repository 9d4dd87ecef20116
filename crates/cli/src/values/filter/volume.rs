//! Filters of `volume list`.

use std::str::FromStr;

use bulkhead_api::volume::VolumeResource;

use super::super::InvalidValue;
use super::label::LabelFilter;
use super::name::NamePattern;
use super::{Filter, Needed, parse, truth, unknown};

/// One condition.
#[derive(Clone, Debug)]
pub(crate) enum VolumeFilter {
    Name(NamePattern),
    Label(LabelFilter),
    Driver(String),
    /// Whether no container mounts it.
    Dangling(bool),
}

impl FromStr for VolumeFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        parse(text, Self::Label, |key, value| match key {
            "name" => Ok(Self::Name(value.parse()?)),
            "driver" => Ok(Self::Driver(value.to_owned())),
            "dangling" => Ok(Self::Dangling(truth(value)?)),
            _ => unknown("name, label, driver or dangling"),
        })
    }
}

impl VolumeFilter {
    /// Whether it matters who mounts a volume.
    pub(crate) fn is_about_containers(&self) -> bool {
        matches!(self, Self::Dangling(_))
    }
}

impl Filter for VolumeFilter {
    type Object = Needed<VolumeResource>;

    fn matches(&self, Needed { object: volume, is_needed }: &Self::Object, _all: &[Self::Object]) -> bool {
        let configuration = &volume.configuration;
        match self {
            Self::Name(name) => name.matches(&configuration.name),
            Self::Label(label) => label.matches(&configuration.labels),
            Self::Driver(driver) => configuration.driver == *driver,
            Self::Dangling(wanted) => *is_needed != *wanted,
        }
    }

    fn is_label(&self) -> bool {
        matches!(self, Self::Label(_))
    }
}

#[cfg(test)]
mod tests {
    use super::super::select;
    use super::*;

    #[test]
    fn filters_follow_dockers_rules() {
        let volume = |name: &str, is_needed: bool| Needed {
            object: serde_json::from_value(serde_json::json!({
                "id": name,
                "configuration": {"name": name, "driver": "local", "format": "ext4", "source": "",
                    "creationDate": "", "labels": {"tier": name}, "options": {}}
            }))
            .unwrap(),
            is_needed,
        };
        let all = [volume("data", true), volume("cache", false)];
        for (texts, expected) in [
            (&[][..], "data cache"),
            (&["name=a"], "data cache"),
            (&["name=dat", "dangling=true"], ""),
            (&["name=^dat$"], ""),
            (&["label=tier"], "data cache"),
            (&["label=tier=cache"], "cache"),
            (&["driver=local"], "data cache"),
            (&["driver=nfs"], ""),
            (&["dangling=1"], "cache"),
            (&["dangling=false"], "data"),
        ] {
            let filters: Vec<VolumeFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let found = select(&filters, all.to_vec()).unwrap();
            let names: Vec<_> = found.into_iter().map(|one| one.object.id).collect();
            assert_eq!(names.join(" "), expected, "{texts:?}");
        }
        for text in ["", "name=", "dangling=yes", "color=red"] {
            assert!(text.parse::<VolumeFilter>().is_err(), "{text}");
        }
    }
}
