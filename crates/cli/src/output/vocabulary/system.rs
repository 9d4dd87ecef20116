//! The services themselves.

use bulkhead_api::system::{
    Advice, DiskUsage, DiskUsageEntry, FolderSupport, MachineSupport, NetworkSupport, SystemStatus,
};
use bulkhead_api::system_event::{SystemEvent, SystemEventKind};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Templated, any_keys, size};
use crate::output::version::ComponentVersion;
use crate::values::filter::event::docker_action;

impl Templated for SystemStatus {
    fn examples() -> Vec<Self> {
        let text = || Some(String::new());
        let texts = || vec![String::new()];
        let advice = || vec![Advice { problem: String::new(), remedy: String::new() }];
        vec![Self {
            status: String::new(),
            app_root: String::new(),
            install_root: String::new(),
            log_root: text(),
            api_server_version: String::new(),
            api_server_commit: String::new(),
            api_server_build: String::new(),
            api_server_app_name: String::new(),
            configuration_problem: text(),
            machine: Some(MachineSupport {
                vmm: String::new(),
                barrier: String::new(),
                reason: String::new(),
                maximum_cpus: Some(0),
                advice: advice(),
            }),
            network: Some(NetworkSupport { mode: String::new(), limits: texts(), advice: advice() }),
            folders: Some(FolderSupport { limits: texts(), advice: advice() }),
        }]
    }

    fn words(&self) -> Value {
        json!({"ServerVersion": self.api_server_version})
    }
}

impl Templated for SystemEvent {
    fn examples() -> Vec<Self> {
        vec![Self {
            time: String::new(),
            time_us: 0,
            kind: SystemEventKind::Container,
            action: String::new(),
            id: String::new(),
            attributes: any_keys(),
        }]
    }

    fn words(&self) -> Value {
        // Docker gives each a name; one that a label gives is left to it.
        let mut attributes = self.attributes.clone();
        attributes.entry("name".to_owned()).or_insert_with(|| self.id.clone());
        json!({
            "Type": self.kind.as_str(),
            "Action": docker_action(self),
            "Status": docker_action(self),
            "ID": self.id,
            "From": self.attributes.get("image"),
            "Actor": {"ID": self.id, "Attributes": attributes},
            "Scope": "local",
            "Time": self.time_us.div_euclid(1_000_000),
            "TimeNano": self.time_us.saturating_mul(1_000),
        })
    }
}

/// A row of `system df`, or all of it: which of them a template is about, its words say.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct DiskUsageRow {
    whole: DiskUsage,
    #[serde(skip)]
    kind: &'static str,
}

impl DiskUsageRow {
    /// Docker's words, which are of a row.
    pub(crate) const WORDS: [&str; 5] = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];

    /// All of it.
    pub(crate) fn whole(usage: DiskUsage) -> Self {
        Self { whole: usage, kind: "" }
    }

    /// Each row.
    pub(crate) fn rows(usage: DiskUsage) -> Vec<Self> {
        ["Images", "Containers", "Local Volumes"].map(|kind| Self { whole: usage, kind }).into()
    }

    fn entry(&self) -> &DiskUsageEntry {
        match self.kind {
            "Images" => &self.whole.images,
            "Containers" => &self.whole.containers,
            _ => &self.whole.volumes,
        }
    }
}

impl Templated for DiskUsageRow {
    fn examples() -> Vec<Self> {
        vec![Self::whole(DiskUsage::default())]
    }

    fn words(&self) -> Value {
        let entry = self.entry();
        let all = u128::from(entry.size_in_bytes.max(entry.reclaimable).max(1));
        let percent = u128::from(entry.reclaimable) * 100 / all;
        json!({
            "Type": self.kind,
            "TotalCount": entry.total,
            "Active": entry.active,
            "Size": size(entry.size_in_bytes),
            "Reclaimable": format!("{} ({percent}%)", size(entry.reclaimable)),
        })
    }
}

impl Templated for ComponentVersion {
    fn examples() -> Vec<Self> {
        vec![Self {
            version: String::new(),
            build_type: String::new(),
            commit: String::new(),
            app_name: String::new(),
        }]
    }

    fn words(&self) -> Value {
        let part = json!({"Version": "", "GitCommit": ""});
        json!({"Client": part, "Server": part})
    }
}

/// Both programs at once, as templates of Docker ask for them.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct VersionPair(pub(crate) Vec<ComponentVersion>);

impl VersionPair {
    /// Docker's words.
    pub(crate) const WORDS: [&str; 2] = ["Client", "Server"];
}

impl Templated for VersionPair {
    fn examples() -> Vec<Self> {
        let component = ComponentVersion::examples();
        vec![Self([component.clone(), component].concat())]
    }

    fn words(&self) -> Value {
        let part = |index: usize| {
            self.0.get(index).map(|part| json!({"Version": part.version, "GitCommit": part.commit}))
        };
        json!({"Client": part(0), "Server": part(1)})
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::template::Template;

    #[test]
    fn events_have_what_scripts_of_docker_ask_for() {
        let event = |attributes: BTreeMap<String, String>| SystemEvent {
            time: "2026-01-02T03:04:05.000006Z".to_owned(),
            time_us: 1_767_323_045_000_006,
            kind: SystemEventKind::Container,
            action: "start".to_owned(),
            id: "web".to_owned(),
            attributes,
        };
        let text = "{{.Actor.Attributes.name}} {{index .Actor.Attributes \"image\"}} {{.Scope}} {{.Time}} {{.TimeNano}}";
        let vocabulary = SystemEvent::vocabulary();
        let template = Template::new(text, &vocabulary).unwrap();
        let apply = |event: &SystemEvent| {
            let json = serde_json::to_value(event).unwrap();
            template.apply(json, event.words(), &vocabulary).unwrap()
        };
        let image = || ("image".to_owned(), "demo".to_owned());
        assert_eq!(apply(&event([image()].into())), "web demo local 1767323045 1767323045000006000");
        let label = ("name".to_owned(), "other".to_owned());
        assert!(apply(&event([image(), label].into())).starts_with("other demo "));
    }
}
