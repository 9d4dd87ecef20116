//! Containers in tables.

use bulkhead_api::container::{ContainerSnapshot, ContainerState, ContainerStatus, Resources};
use bulkhead_api::health::HealthState;

use super::render::Listed;

impl Listed for ContainerSnapshot {
    const HEADER: &'static [&'static str] =
        &["ID", "IMAGE", "OS", "ARCH", "STATE", "IP", "CPUS", "MEMORY", "STARTED"];

    fn row(&self) -> Vec<String> {
        let configuration = &self.configuration;
        let addresses: Vec<&str> =
            self.status.networks.iter().map(|network| network.ipv4_address.as_str()).collect();
        vec![
            self.id.clone(),
            configuration.image.reference.clone(),
            configuration.platform.os.clone(),
            configuration.platform.architecture.clone(),
            state(&self.status),
            addresses.join(","),
            cpus(&configuration.resources),
            format!("{} MB", configuration.resources.memory_in_bytes >> 20),
            self.status.started_date.clone().unwrap_or_default(),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// `2`, or where it is a share of them, `0.5`.
fn cpus(resources: &Resources) -> String {
    let percent = resources.cpu_limit_percent();
    let fraction = format!(".{:02}", percent % 100);
    format!("{}{}", percent / 100, fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// The compatible word, and what there is to say beyond it in brackets, as Docker's STATUS does.
fn state(status: &ContainerStatus) -> String {
    let word = status.state.as_str();
    let health = status.health.as_ref().filter(|_| status.state == ContainerState::Running);
    let more = match health.map(|health| health.status) {
        _ if status.paused => "paused",
        _ if status.restarting => "restarting",
        _ if status.unresponsive_since.is_some() => "unresponsive",
        Some(HealthState::Starting) => "health: starting",
        Some(known) => known.as_str(),
        None => return word.to_owned(),
    };
    format!("{word} ({more})")
}

#[cfg(test)]
mod tests {
    use bulkhead_api::health::HealthStatus;

    use super::*;

    #[test]
    fn the_compatible_word_comes_first() {
        let status = |changes: serde_json::Value| {
            let mut status = serde_json::json!({"state": "running", "networks": []});
            status.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            serde_json::from_value::<ContainerStatus>(status).unwrap()
        };
        let health = |known| serde_json::to_value(HealthStatus { status: known, ..HealthStatus::default() });
        for (changes, shown) in [
            (serde_json::json!({}), "running"),
            (serde_json::json!({"state": "stopping", "networks": []}), "stopping"),
            (serde_json::json!({"paused": true}), "running (paused)"),
            (serde_json::json!({"state": "stopped", "restarting": true}), "stopped (restarting)"),
            (serde_json::json!({"unresponsiveSince": "2026-01-01T00:00:00Z"}), "running (unresponsive)"),
            (
                serde_json::json!({"health": health(HealthState::Starting).unwrap()}),
                "running (health: starting)",
            ),
            (serde_json::json!({"health": health(HealthState::Healthy).unwrap()}), "running (healthy)"),
            (serde_json::json!({"health": health(HealthState::Unhealthy).unwrap()}), "running (unhealthy)"),
            // What it was before it stopped says nothing.
            (
                serde_json::json!({"state": "stopped", "health": health(HealthState::Healthy).unwrap()}),
                "stopped",
            ),
        ] {
            assert_eq!(state(&status(changes)), shown);
        }
    }
}
