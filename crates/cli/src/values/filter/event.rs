//! Filters of `events`: `--filter key=value`. Filters of one key are alternatives, of several keys
//! conditions; labels are always conditions.

use std::str::FromStr;

use bulkhead_api::system_event::{SystemEvent, SystemEventKind};

use super::{InvalidValue, invalid};

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventFilter {
    /// `container`, `image`
    Kind(String),
    /// `start`, `die`, …
    Action(String),
    /// Container id.
    Container(String),
    /// Image of the event, or of its container.
    Image(String),
    /// Key, and value if it matters.
    Label(String, Option<String>),
}

impl FromStr for EventFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let Some((key, value)) = text.split_once('=').filter(|(_, value)| !value.is_empty()) else {
            return invalid("expected key=value");
        };
        let value = value.to_owned();
        match key {
            "type" => Ok(Self::Kind(value)),
            "event" => Ok(Self::Action(value)),
            "container" => Ok(Self::Container(value)),
            "image" => Ok(Self::Image(value)),
            "label" => Ok(match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value, None),
            }),
            _ => invalid("unknown filter: expected type, event, container, image or label"),
        }
    }
}

impl EventFilter {
    fn matches(&self, event: &SystemEvent) -> bool {
        match self {
            Self::Kind(kind) => event.kind.as_str() == kind,
            Self::Action(action) => event.action == *action,
            Self::Container(id) => event.kind == SystemEventKind::Container && event.id == *id,
            Self::Image(image) => {
                let name = match event.kind {
                    SystemEventKind::Image => Some(&event.id),
                    _ => event.attributes.get("image"),
                };
                name.is_some_and(|name| {
                    let short = name.strip_prefix("docker.io/library/").unwrap_or(name);
                    name == image || short == image || short.strip_suffix(":latest") == Some(image)
                })
            }
            Self::Label(key, value) => event
                .attributes
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found)),
        }
    }
}

/// Whether an event meets all filters. What tells of lost events always does.
pub(crate) fn all_match(filters: &[EventFilter], event: &SystemEvent) -> bool {
    event.kind == SystemEventKind::Events
        || filters.iter().all(|filter| match filter {
            EventFilter::Label(..) => filter.matches(event),
            _ => {
                let same_key =
                    |other: &&EventFilter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
                filters.iter().filter(same_key).any(|alternative| alternative.matches(event))
            }
        })
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
            assert_eq!(all_match(&filters, &event), expected, "{texts:?}");
        }
        let dropped = SystemEvent { kind: SystemEventKind::Events, ..event };
        assert!(all_match(&["event=start".parse().unwrap()], &dropped));
        assert!("color=red".parse::<EventFilter>().is_err());
    }
}
