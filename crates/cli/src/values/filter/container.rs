//! Filters of `list` and `prune`: `--filter key=value`.
//!
//! Docker's rules: filters of one key are alternatives, of several keys conditions; labels are always
//! conditions.

use std::str::FromStr;

use bulkhead_api::container::{ContainerSnapshot, ContainerState, MountKind};

use super::moment::Moment;
use super::{InvalidValue, invalid};

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerFilter {
    /// Part of the name.
    Name(String),
    /// Beginning of the id.
    Id(String),
    /// Key, and value if it matters.
    Label(LabelFilter),
    /// `running`, `stopped`, …
    Status(Status),
    /// Exit code of a container that does not run.
    Exited(i32),
    /// Image, in one of its spellings.
    Ancestor(String),
    /// `starting`, `healthy`, `unhealthy`, or `none`.
    Health(Health),
    /// A network that it joins.
    Network(String),
    /// A volume that it mounts, or where it mounts something.
    Volume(String),
}

/// A label that must be there, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelFilter {
    key: String,
    value: Option<String>,
    absent: bool,
}

/// One condition of `prune`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PruneFilter {
    Label(LabelFilter),
    /// Created before.
    Until(Moment),
}

/// Docker's words beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Created,
    Running,
    Paused,
    Stopping,
    Stopped,
    Restarting,
}

/// Docker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health(String);

impl FromStr for ContainerFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some(label) = LabelFilter::parse(text)? {
            return Ok(Self::Label(label));
        }
        let Some((key, value)) = text.split_once('=').filter(|(_, value)| !value.is_empty()) else {
            return invalid("expected key=value");
        };
        match key {
            "name" => Ok(Self::Name(value.trim_start_matches('/').to_owned())),
            "id" => Ok(Self::Id(value.to_owned())),
            "ancestor" => Ok(Self::Ancestor(value.to_owned())),
            "network" => Ok(Self::Network(value.to_owned())),
            "volume" => Ok(Self::Volume(value.to_owned())),
            "status" => match value {
                "created" => Ok(Self::Status(Status::Created)),
                "running" => Ok(Self::Status(Status::Running)),
                "paused" => Ok(Self::Status(Status::Paused)),
                "stopping" => Ok(Self::Status(Status::Stopping)),
                "stopped" | "exited" => Ok(Self::Status(Status::Stopped)),
                "restarting" => Ok(Self::Status(Status::Restarting)),
                _ => invalid(
                    "expected status=created, running, paused, stopping, stopped, exited or restarting",
                ),
            },
            "exited" => match value.parse() {
                Ok(code) => Ok(Self::Exited(code)),
                Err(_) => invalid("expected an exit code: exited=0"),
            },
            "health" => match value {
                "starting" | "healthy" | "unhealthy" | "none" => Ok(Self::Health(Health(value.to_owned()))),
                _ => invalid("expected health=starting, healthy, unhealthy or none"),
            },
            _ => invalid(
                "unknown filter: expected name, id, label, status, exited, ancestor, health, network or volume",
            ),
        }
    }
}

impl FromStr for PruneFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some(label) = LabelFilter::parse(text)? {
            return Ok(Self::Label(label));
        }
        match text.split_once('=') {
            Some(("until", value)) => Ok(Self::Until(value.parse()?)),
            _ => invalid("unknown filter: expected label or until"),
        }
    }
}

impl LabelFilter {
    /// `None` when the filter is about something else.
    fn parse(text: &str) -> Result<Option<Self>, InvalidValue> {
        let (label, absent) = match (text.strip_prefix("label="), text.strip_prefix("label!=")) {
            (Some(label), _) => (label, false),
            (_, Some(label)) => (label, true),
            _ => return Ok(None),
        };
        let (key, value) = match label.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (label, None),
        };
        if key.is_empty() {
            return invalid("expected label=key or label=key=value");
        }
        Ok(Some(Self { key: key.to_owned(), value, absent }))
    }

    fn matches(&self, container: &ContainerSnapshot) -> bool {
        let found = container.configuration.labels.get(&self.key);
        let there = found.is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found));
        there != self.absent
    }
}

impl ContainerFilter {
    /// Whether it can be about containers that do not run, so that these are wanted too.
    pub(crate) fn is_of_state(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Exited(_))
    }

    fn matches(&self, container: &ContainerSnapshot) -> bool {
        let status = &container.status;
        match self {
            Self::Name(part) => container.id.contains(part.as_str()),
            Self::Id(beginning) => container.id.starts_with(beginning.as_str()),
            Self::Label(label) => label.matches(container),
            Self::Status(wanted) => *wanted == Status::of(container),
            Self::Exited(code) => status.state == ContainerState::Stopped && status.exit_code == Some(*code),
            Self::Ancestor(image) => is_named(container, image),
            Self::Health(Health(wanted)) => {
                wanted == status.health.as_ref().map_or("none", |health| health.status.as_str())
            }
            Self::Network(name) => {
                container.configuration.networks.iter().any(|network| network.network == *name)
            }
            Self::Volume(wanted) => container.configuration.mounts.iter().any(|mount| {
                let is_named = matches!(&mount.kind, MountKind::Volume { name, .. } if name == wanted);
                is_named || mount.destination == *wanted
            }),
        }
    }
}

impl Status {
    /// Docker's word; it has none for a container that is on the way down.
    pub(crate) fn docker_word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running | Self::Stopping => "running",
            Self::Paused => "paused",
            Self::Stopped => "exited",
            Self::Restarting => "restarting",
        }
    }

    pub(crate) fn of(container: &ContainerSnapshot) -> Self {
        let status = &container.status;
        match status.state {
            ContainerState::Running if status.paused => Self::Paused,
            ContainerState::Running => Self::Running,
            ContainerState::Stopping => Self::Stopping,
            _ if status.restarting => Self::Restarting,
            _ if status.exit_code.is_none() => Self::Created,
            _ => Self::Stopped,
        }
    }
}

/// `demo`, `demo:latest`, the full reference, or the digest with or without its algorithm.
fn is_named(container: &ContainerSnapshot, wanted: &str) -> bool {
    let image = &container.configuration.image;
    let reference = image.reference.as_str();
    let tail = |prefix: &str| reference.strip_prefix(prefix);
    let spellings = [Some(reference), tail("docker.io/"), tail("docker.io/library/")];
    let named = spellings.into_iter().flatten().any(|spelling| {
        spelling == wanted || spelling.strip_suffix(":latest").is_some_and(|short| short == wanted)
    });
    let digest = image.descriptor.digest.as_str();
    named || digest == wanted || digest.strip_prefix("sha256:") == Some(wanted)
}

/// Whether a container meets all filters.
pub(crate) fn all_match(filters: &[ContainerFilter], container: &ContainerSnapshot) -> bool {
    filters.iter().all(|filter| match filter {
        ContainerFilter::Label(label) => label.matches(container),
        _ => {
            let same_key =
                |other: &&ContainerFilter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
            filters.iter().filter(same_key).any(|alternative| alternative.matches(container))
        }
    })
}

/// Whether a container that does not run is to go.
pub(crate) fn is_pruned(filters: &[PruneFilter], container: &ContainerSnapshot) -> bool {
    let idle = container.status.state == ContainerState::Stopped && !container.status.restarting;
    idle && filters.iter().all(|filter| match filter {
        PruneFilter::Label(label) => label.matches(container),
        PruneFilter::Until(moment) => container.configuration.creation_time_us < moment.unix_us(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(state: &str, exit_code: Option<i32>) -> ContainerSnapshot {
        serde_json::from_value(serde_json::json!({
            "id": "web-1",
            "configuration": {
                "id": "web-1",
                "image": {"reference": "docker.io/library/demo:latest", "descriptor":
                    {"mediaType": "m", "digest": "sha256:abc", "size": 1}},
                "mounts": [], "publishedPorts": [], "publishedSockets": [],
                "labels": {"tier": "front", "empty": ""}, "sysctls": {}, "networks": [],
                "initProcess": {"executable": "/bin/true", "arguments": [], "environment": [],
                    "workingDirectory": "/", "terminal": false, "user": {"id": {"uid": 0, "gid": 0}},
                    "supplementalGroups": [], "rlimits": []},
                "platform": {"os": "linux", "architecture": "amd64"},
                "resources": {"cpus": 4, "memoryInBytes": 1 << 30, "cpuOverhead": 1},
                "runtimeHandler": "container-runtime-linux", "rosetta": false, "virtualization": false,
                "ssh": false, "readOnly": false, "useInit": false, "capAdd": [], "capDrop": [],
                "creationDate": "2026-01-01T00:00:00Z", "creationTimeUs": 1_767_225_600_000_000_i64
            },
            "status": {"state": state, "networks": [], "exitCode": exit_code}
        }))
        .unwrap()
    }

    #[test]
    fn filters_follow_dockers_rules() {
        let table = [
            (&["name=eb"][..], true),
            (&["name=db"], false),
            (&["name=db", "name=web"], true),
            (&["name=web", "status=running"], false),
            (&["id=web-"], true),
            (&["id=eb"], false),
            (&["label=tier"], true),
            (&["label=tier=front"], true),
            (&["label=tier=back"], false),
            (&["label=tier", "label=other"], false),
            (&["label!=other"], true),
            (&["label!=tier"], false),
            (&["label=empty="], true),
            (&["status=exited"], true),
            (&["status=stopped"], true),
            (&["status=created"], false),
            (&["exited=3"], true),
            (&["exited=0"], false),
            (&["exited=0", "exited=3"], true),
            (&["ancestor=demo"], true),
            (&["ancestor=demo:latest"], true),
            (&["ancestor=docker.io/library/demo:latest"], true),
            (&["ancestor=sha256:abc"], true),
            (&["ancestor=dem"], false),
            (&["health=none"], true),
            (&["health=healthy"], false),
        ];
        let stopped = container("stopped", Some(3));
        for (texts, expected) in table {
            let filters: Vec<ContainerFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(all_match(&filters, &stopped), expected, "{texts:?}");
        }
        let created: ContainerFilter = "status=created".parse().unwrap();
        assert!(all_match(&[created], &container("stopped", None)));
        for text in ["", "name", "name=", "label=", "status=odd", "exited=x", "health=odd", "color=red"] {
            assert!(text.parse::<ContainerFilter>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_does_not_run_is_pruned() {
        let filters =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<PruneFilter>>();
        let stopped = container("stopped", None);
        assert!(is_pruned(&[], &stopped));
        assert!(!is_pruned(&[], &container("running", None)));
        assert!(is_pruned(&filters(&["label=tier=front", "until=2026-01-02T00:00:00Z"]), &stopped));
        assert!(!is_pruned(&filters(&["until=2025-12-31T00:00:00Z"]), &stopped));
        assert!("name=x".parse::<PruneFilter>().is_err());
    }
}
