//! Containers as `list` and `inspect` show them.

use bulkhead_api::container::{ContainerSnapshot, ContainerStatus};

use super::registry::Container;
use super::status::Phase;

impl Container {
    pub(crate) fn snapshot(&self) -> ContainerSnapshot {
        let status = self.status();
        let record = status.record;
        let unresponsive_since = record.run.as_ref().and_then(|run| run.unresponsive_since.clone());
        let (networks, published_ports, machine) =
            record.run.map_or_else(Default::default, |run| (run.networks, run.published_ports, run.machine));
        let exit = record.exit;
        ContainerSnapshot {
            id: self.id.clone(),
            configuration: (*self.configuration).clone(),
            status: ContainerStatus {
                state: status.phase.shown(),
                networks,
                published_ports,
                network_problem: None,
                started_date: record.started_date,
                exit_code: exit.as_ref().map(|exit| exit.exit_code),
                finished_date: exit.as_ref().map(|exit| exit.finished_date.clone()),
                oom_killed: exit.as_ref().is_some_and(|exit| exit.oom_killed),
                restart_count: record.restart_count,
                restarting: status.phase == Phase::Restarting,
                health: record.health,
                reason: exit.and_then(|exit| exit.reason),
                paused: status.run.is_some_and(|run| run.is_paused()),
                unresponsive_since,
                machine,
            },
        }
    }
}
