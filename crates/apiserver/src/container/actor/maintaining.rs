//! What the actor does while a machine for the container's files runs.

use super::super::launch::Order;
use super::super::maintenance::{self, Maintenance};
use super::{Actor, Command, Life, StartReply};
use crate::error::invalid_state;
use bulkhead_runtime_control::BuiltIn;

impl Actor {
    /// Boots a machine for the container's files.
    pub(super) async fn maintain(&mut self, work: BuiltIn, order: Order, reply: StartReply) -> Life {
        if self.active.is_some() {
            let error = invalid_state(format!("container '{}' has just been started", self.configuration.id))
                .with_hint("Try again.");
            drop(reply.send(Err(error)));
            return Life::Goes;
        }
        match maintenance::launch(&self.service, &self.configuration, work, order).await {
            Ok(active) => self.maintenance = Some(Maintenance::new(active, reply)),
            Err(error) => drop(reply.send(Err(error))),
        }
        Life::Goes
    }

    /// Keeps a command until the maintenance is over; ends that if the command cannot wait.
    pub(super) fn defer(&mut self, command: Command) -> Life {
        match command {
            // There is nothing to be shown as stopping.
            Command::Stopping => return Life::Goes,
            // A stop that waited would end what is started after it.
            Command::Hold { by_user, reply } => {
                self.hold(by_user);
                // Nobody may wait for it any more.
                let _ = reply.send(());
                return Life::Goes;
            }
            _ => {}
        }
        let ends = matches!(command, Command::Delete { force: true, .. } | Command::EndMaintenance { .. });
        if let Some(maintenance) = self.maintenance.as_ref().filter(|_| ends) {
            maintenance.abort();
        }
        self.waiting.push_back(command);
        Life::Goes
    }

    pub(super) fn maintained(&mut self) -> Life {
        if let Some(maintenance) = self.maintenance.take() {
            maintenance::release(&self.service, &self.configuration.id);
            maintenance.finish();
        }
        Life::Goes
    }
}
