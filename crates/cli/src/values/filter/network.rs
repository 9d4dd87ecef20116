//! Filters of `network list`.

use std::str::FromStr;

use bulkhead_api::network::NetworkResource;

use super::super::{InvalidValue, invalid};
use super::label::LabelFilter;
use super::name::NamePattern;
use super::{Filter, Needed, parse, truth, unknown};

/// The network that is always there.
const BUILT_IN: &str = "default";
/// Where all networks are.
const SCOPE: &str = "local";

/// One condition.
#[derive(Clone, Debug)]
pub(crate) enum NetworkFilter {
    Name(NamePattern),
    /// Beginning of the id.
    Id(String),
    Label(LabelFilter),
    /// Its plugin.
    Driver(String),
    /// `local`
    Scope(String),
    /// Whether it was made by users.
    Custom(bool),
    /// Whether users made it and no container joins it.
    Dangling(bool),
}

impl FromStr for NetworkFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        parse(text, Self::Label, |key, value| match (key, value) {
            ("name", _) => Ok(Self::Name(value.parse()?)),
            ("id", _) => Ok(Self::Id(value.to_owned())),
            ("driver", _) => Ok(Self::Driver(value.to_owned())),
            ("scope", _) => Ok(Self::Scope(value.to_owned())),
            ("type", "custom") => Ok(Self::Custom(true)),
            ("type", "builtin") => Ok(Self::Custom(false)),
            ("type", _) => invalid("expected type=custom or builtin"),
            ("dangling", _) => Ok(Self::Dangling(truth(value)?)),
            _ => unknown("name, id, label, driver, scope, type or dangling"),
        })
    }
}

impl NetworkFilter {
    /// Whether it matters who joins a network.
    pub(crate) fn is_about_containers(&self) -> bool {
        matches!(self, Self::Dangling(_))
    }
}

impl Filter for NetworkFilter {
    type Object = Needed<NetworkResource>;

    fn matches(&self, Needed { object: network, is_needed }: &Self::Object, _all: &[Self::Object]) -> bool {
        let configuration = &network.configuration;
        let is_custom = configuration.name != BUILT_IN;
        match self {
            Self::Name(name) => name.matches(&configuration.name),
            Self::Id(beginning) => network.id.starts_with(beginning.as_str()),
            Self::Label(label) => label.matches(&configuration.labels),
            Self::Driver(driver) => configuration.plugin == *driver,
            Self::Scope(scope) => scope == SCOPE,
            Self::Custom(wanted) => is_custom == *wanted,
            Self::Dangling(wanted) => (is_custom && !is_needed) == *wanted,
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
        let network = |name: &str, is_needed: bool| Needed {
            object: serde_json::from_value(serde_json::json!({
                "id": name,
                "configuration": {"name": name, "creationDate": "", "mode": "nat", "plugin": "bridge",
                    "labels": {"tier": name}, "options": {}},
                "status": {"ipv4Subnet": "", "ipv4Gateway": ""}
            }))
            .unwrap(),
            is_needed,
        };
        let all = [network("default", false), network("back", true), network("front", false)];
        for (texts, expected) in [
            (&[][..], "default back front"),
            (&["name=a"], "default back"),
            (&["name=a", "name=o"], "default back front"),
            (&["name=^back$"], "back"),
            (&["id=a"], ""),
            (&["label=tier=back"], "back"),
            (&["label!=tier=back", "type=custom"], "front"),
            (&["type=builtin"], "default"),
            (&["driver=bridge", "scope=local"], "default back front"),
            (&["driver=ipvlan"], ""),
            (&["scope=swarm"], ""),
            (&["dangling=true"], "front"),
            (&["dangling=0"], "default back"),
        ] {
            let filters: Vec<NetworkFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let found = select(&filters, all.to_vec()).unwrap();
            let names: Vec<_> = found.into_iter().map(|one| one.object.id).collect();
            assert_eq!(names.join(" "), expected, "{texts:?}");
        }
        for text in ["", "name", "name=", "label=", "type=odd", "dangling=maybe", "color=red"] {
            assert!(text.parse::<NetworkFilter>().is_err(), "{text}");
        }
    }
}
