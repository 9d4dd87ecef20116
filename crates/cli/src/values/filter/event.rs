//! Filters of `events`.

use std::str::FromStr;

use bulkhead_api::system_event::{SystemEvent, SystemEventKind};

use super::super::{InvalidValue, invalid};
use super::label::LabelFilter;
use super::{Filter, image, parse, unknown};

/// What events are about; that some were lost is always told.
const KINDS: [SystemEventKind; 4] =
    [SystemEventKind::Container, SystemEventKind::Image, SystemEventKind::Network, SystemEventKind::Volume];

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventFilter {
    Kind(SystemEventKind),
    /// `start`, `die`, …
    Action(String),
    /// Container id, also of one that joins or leaves a network.
    Container(String),
    /// Image of the event, or of its container.
    Image(String),
    Network(String),
    Volume(String),
    Label(LabelFilter),
}

impl FromStr for EventFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        parse(text, Self::Label, |key, value| {
            let owned = || value.to_owned();
            match key {
                "type" => match KINDS.into_iter().find(|kind| kind.as_str() == value) {
                    Some(kind) => Ok(Self::Kind(kind)),
                    None => invalid("expected type=container, image, network or volume"),
                },
                "event" => Ok(Self::Action(owned())),
                "container" => Ok(Self::Container(owned())),
                "image" => Ok(Self::Image(owned())),
                "network" => Ok(Self::Network(owned())),
                "volume" => Ok(Self::Volume(owned())),
                _ => unknown("type, event, container, image, network, volume or label"),
            }
        })
    }
}

impl Filter for EventFilter {
    type Object = SystemEvent;

    fn matches(&self, event: &SystemEvent, _all: &[SystemEvent]) -> bool {
        let is_of = |kind: SystemEventKind, id: &str| event.kind == kind && event.id == id;
        match self {
            Self::Kind(kind) => event.kind == *kind,
            Self::Action(action) => event.action == *action || docker_action(event) == *action,
            Self::Container(id) => {
                let joins =
                    event.kind == SystemEventKind::Network && event.attributes.get("container") == Some(id);
                is_of(SystemEventKind::Container, id) || joins
            }
            Self::Image(wanted) => {
                let name = match event.kind {
                    SystemEventKind::Image => Some(&event.id),
                    _ => event.attributes.get("image"),
                };
                name.is_some_and(|name| image::is_named(name, wanted))
            }
            Self::Network(name) => is_of(SystemEventKind::Network, name),
            Self::Volume(name) => is_of(SystemEventKind::Volume, name),
            Self::Label(label) => label.matches(&event.attributes),
        }
    }

    fn is_label(&self) -> bool {
        matches!(self, Self::Label(_))
    }
}

/// Docker says in the action itself what came of a check of health: `health_status: healthy`.
pub(crate) fn docker_action(event: &SystemEvent) -> String {
    match (event.action.as_str(), event.attributes.get("health")) {
        ("health_status", Some(health)) => format!("health_status: {health}"),
        (action, _) => action.to_owned(),
    }
}

/// Whether an event meets all filters. What tells of lost events always does.
pub(crate) fn is_wanted(filters: &[EventFilter], event: &SystemEvent) -> bool {
    event.kind == SystemEventKind::Events || super::all_match(filters, event, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_follow_dockers_rules() {
        let event: SystemEvent = serde_json::from_value(serde_json::json!({
            "time": "", "timeUs": 0, "type": "container", "action": "die", "id": "web",
            "attributes": {"image": "docker.io/library/demo:latest", "tier": "front", "exitCode": "3"}
        }))
        .unwrap();
        let table = [
            (&["type=container"][..], true),
            (&["type=image"], false),
            (&["event=start", "event=die"], true),
            (&["event=start"], false),
            (&["container=web", "event=die"], true),
            (&["container=we"], false),
            (&["image=demo"], true),
            (&["image=other"], false),
            (&["label=tier"], true),
            (&["label=tier=back"], false),
            (&["label=exitCode=3"], true),
        ];
        for (texts, expected) in table {
            let filters: Vec<EventFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(is_wanted(&filters, &event), expected, "{texts:?}");
        }
        let dropped = SystemEvent { kind: SystemEventKind::Events, ..event };
        assert!(is_wanted(&["event=start".parse().unwrap()], &dropped));
        let joined: SystemEvent = serde_json::from_value(serde_json::json!({
            "time": "", "timeUs": 0, "type": "network", "action": "connect", "id": "back",
            "attributes": {"container": "web"}
        }))
        .unwrap();
        for (text, expected) in [
            ("network=back", true),
            ("network=front", false),
            ("type=network", true),
            ("container=web", true),
            ("container=back", false),
            ("volume=back", false),
        ] {
            assert_eq!(is_wanted(&[text.parse().unwrap()], &joined), expected, "{text}");
        }
        for text in ["color=red", "type=plugin", "type=events", "event="] {
            assert!(text.parse::<EventFilter>().is_err(), "{text}");
        }
    }
}
