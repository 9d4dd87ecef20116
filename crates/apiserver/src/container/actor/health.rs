//! What checks of its health say.

use bulkhead_api::health::HealthCheckResult;

use super::super::health;
use super::super::status::Phase;
use super::{Actor, Life};

impl Actor {
    /// Begins to check the health of the run, which may have been checked by an earlier service.
    pub(super) fn watch_health(&mut self) {
        let (Some(check), Some(active)) = (&self.configuration.health_check, &self.active) else {
            self.record.health = None;
            return;
        };
        let status = &*self.record.health.get_or_insert_default();
        let started = self.record.started_date.as_deref();
        self.monitor = Some(health::watch(&active.run, &self.configuration, check, status, started));
    }

    pub(super) fn checked(&mut self, result: Option<HealthCheckResult>) -> Life {
        let (Some(result), Some(check)) = (result, &self.configuration.health_check) else {
            self.monitor = None;
            return Life::Goes;
        };
        let status = self.record.health.get_or_insert_default();
        let before = status.status;
        let started = self.record.started_date.as_deref();
        health::judge(status, check, result, started);
        let now = status.status;
        if now != before {
            self.tell("health_status", &[("health", now.as_str().to_owned())]);
            // Of the rest nothing needs to survive the service: an image chooses how often it is checked.
            self.save();
        }
        // The phase stays as it is: the container may be on its way down.
        let phase = self.status.borrow().phase;
        if phase != Phase::Removed {
            self.publish(phase);
        }
        Life::Goes
    }
}
