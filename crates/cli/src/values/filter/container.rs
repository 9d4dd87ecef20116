//! Filters of `list`.

use std::str::FromStr;

use bulkhead_api::container::{ContainerSnapshot, ContainerState, MountKind};

use super::super::{InvalidValue, invalid};
use super::label::LabelFilter;
use super::name::NamePattern;
use super::{Filter, image, parse, unknown};

/// One condition.
#[derive(Clone, Debug)]
pub(crate) enum ContainerFilter {
    Name(NamePattern),
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
    /// Created before another.
    Before(String),
    /// Created after another.
    Since(String),
    /// Ports of the host that it publishes: the first, the last, the protocol if it matters.
    Publish(u16, u16, Option<String>),
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
        parse(text, Self::Label, |key, value| match key {
            "name" => Ok(Self::Name(value.parse()?)),
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
            "before" => Ok(Self::Before(value.to_owned())),
            "since" => Ok(Self::Since(value.to_owned())),
            "publish" => match ports(value) {
                Some((first, last, protocol)) => Ok(Self::Publish(first, last, protocol)),
                None => invalid("expected ports: publish=8080, 8080/tcp or 8000-8010"),
            },
            _ => unknown(
                "name, id, label, status, exited, ancestor, health, network, volume, before, since or publish",
            ),
        })
    }
}

/// `80`, `80/udp`, `80-90/tcp`
fn ports(text: &str) -> Option<(u16, u16, Option<String>)> {
    let (range, protocol) = match text.split_once('/') {
        Some((range, protocol @ ("tcp" | "udp"))) => (range, Some(protocol.to_owned())),
        Some(_) => return None,
        None => (text, None),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last, protocol))
}

impl ContainerFilter {
    /// Whether it can be about containers that do not run, so that these are wanted too.
    pub(crate) fn is_of_state(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Exited(_))
    }

    /// Whether it compares with a container, which need not run.
    pub(crate) fn is_comparison(&self) -> bool {
        self.compared().is_some()
    }

    fn compared(&self) -> Option<&str> {
        match self {
            Self::Before(id) | Self::Since(id) => Some(id),
            _ => None,
        }
    }
}

impl Filter for ContainerFilter {
    type Object = ContainerSnapshot;

    fn matches(&self, container: &ContainerSnapshot, all: &[ContainerSnapshot]) -> bool {
        let created_us = |container: &ContainerSnapshot| container.configuration.creation_time_us;
        let status = &container.status;
        match self {
            Self::Name(name) => name.matches_container(&container.id),
            Self::Id(beginning) => container.id.starts_with(beginning.as_str()),
            Self::Label(label) => label.matches(&container.configuration.labels),
            // What is being stopped still runs.
            Self::Status(wanted) => match (wanted, Status::of(container)) {
                (Status::Running, Status::Stopping) => true,
                (wanted, status) => *wanted == status,
            },
            Self::Exited(code) => status.state == ContainerState::Stopped && status.exit_code == Some(*code),
            Self::Ancestor(image) => is_made_of(container, image),
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
            Self::Before(id) => find(all, id).is_some_and(|other| created_us(container) < created_us(other)),
            Self::Since(id) => find(all, id).is_some_and(|other| created_us(container) > created_us(other)),
            Self::Publish(first, last, protocol) => status.published_ports.iter().any(|range| {
                let end = range.host_port.saturating_add(range.count.saturating_sub(1));
                (range.host_port <= *last && *first <= end)
                    && protocol.as_ref().is_none_or(|protocol| *protocol == range.proto)
            }),
        }
    }

    fn is_label(&self) -> bool {
        matches!(self, Self::Label(_))
    }

    fn lacks(&self, all: &[ContainerSnapshot]) -> Option<&str> {
        self.compared().filter(|id| find(all, id).is_none())
    }
}

fn find<'a>(all: &'a [ContainerSnapshot], id: &str) -> Option<&'a ContainerSnapshot> {
    all.iter().find(|container| container.id == id)
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

/// By one of its names, or the digest with or without its algorithm.
fn is_made_of(container: &ContainerSnapshot, wanted: &str) -> bool {
    let image = &container.configuration.image;
    let digest = image.descriptor.digest.as_str();
    image::is_named(&image.reference, wanted)
        || digest == wanted
        || digest.strip_prefix("sha256:") == Some(wanted)
}

/// For tests.
#[cfg(test)]
pub(super) fn example(state: &str, exit_code: Option<i32>) -> ContainerSnapshot {
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
        "status": {"state": state, "networks": [], "exitCode": exit_code, "publishedPorts":
            [{"hostAddress": "0.0.0.0", "hostPort": 8000, "containerPort": 80, "proto": "tcp", "count": 2}]}
    }))
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::super::select;
    use super::*;

    #[test]
    fn filters_follow_dockers_rules() {
        let table = [
            (&["name=eb"][..], true),
            (&["name=db"], false),
            (&["name=db", "name=web"], true),
            (&["name=^web-1$"], true),
            (&["name=^/web-1$"], true),
            (&["name=/web"], true),
            (&["name=^web$"], false),
            (&["name=(db|web)-[0-9]"], true),
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
            (&["before=web-2"], true),
            (&["since=web-2"], false),
            (&["since=web-1"], false),
            (&["publish=8001"], true),
            (&["publish=8002"], false),
            (&["publish=7000-8000/tcp"], true),
            (&["publish=8000/udp"], false),
        ];
        let stopped = example("stopped", Some(3));
        let mut later = stopped.clone();
        later.id = "web-2".to_owned();
        later.configuration.creation_time_us += 1;
        for (texts, expected) in table {
            let filters: Vec<ContainerFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let found = select(&filters, vec![stopped.clone(), later.clone()]).unwrap();
            assert_eq!(found.iter().any(|one| one.id == "web-1"), expected, "{texts:?}");
        }
        let created: ContainerFilter = "status=created".parse().unwrap();
        assert!(created.matches(&example("stopped", None), &[]));
        assert!(select(&["before=web-3".parse::<ContainerFilter>().unwrap()], vec![later]).is_err());
        for text in [
            "",
            "name",
            "name=",
            "label=",
            "status=odd",
            "exited=x",
            "health=odd",
            "color=red",
            "publish=web",
            "publish=80/sctp",
            "publish=90-80",
            "name=(",
        ] {
            assert!(text.parse::<ContainerFilter>().is_err(), "{text}");
        }
    }
}
