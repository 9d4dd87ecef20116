//! What the actor does while a machine for the container's files runs.

use std::collections::VecDeque;

use super::super::launch::Order;
use super::super::maintenance;
use super::preparing::Next;
use super::{Actor, Command, Life, StartReply};
use crate::error::invalid_state;
use bulkhead_runtime_control::BuiltIn;
use tokio::sync::oneshot;

impl Actor {
    /// Boots a machine for the container's files.
    pub(super) async fn maintain(&mut self, work: BuiltIn, order: Order, reply: StartReply) -> Life {
        if self.active.is_some() {
            let error = invalid_state(format!("container '{}' has just been started", self.configuration.id))
                .with_hint("Try again.");
            drop(reply.send(Err(error)));
            return Life::Goes;
        }
        self.prepare(Next::Maintain { work, order, reply }).await
    }

    /// Keeps a command until the maintenance is over; ends that if the command cannot wait.
    pub(super) fn defer(&mut self, command: Command) -> Life {
        match command {
            // There is nothing to be shown as stopping.
            Command::Stopping | Command::StartCutShort => return Life::Goes,
            // A stop that waited would end what is started after it.
            Command::Hold { by_user, reply } => {
                self.hold(by_user);
                self.refuse_starts();
                if self.prepares_start() {
                    self.cancel_preparation("stopped");
                }
                // Nobody may wait for it any more.
                let _ = reply.send(());
                return Life::Goes;
            }
            // Refused: it may take long, and is no less under way than with a machine of its own.
            Command::Delete { force: false, reply } if self.prepares_start() => {
                return self.delete(false, reply);
            }
            // Whoever waits for the start hears of it first.
            Command::Delete { force: true, reply } if self.preparation.is_some() => {
                self.deletions.push(reply);
                self.cancel_preparation("removed");
                return Life::Goes;
            }
            Command::EndMaintenance { .. } => self.cancel_preparation("stopped"),
            _ => {}
        }
        let ends = matches!(command, Command::Delete { force: true, .. } | Command::EndMaintenance { .. });
        if let Some(maintenance) = self.maintenance.as_ref().filter(|_| ends) {
            maintenance.abort();
        }
        self.waiting.push_back(command);
        Life::Goes
    }

    /// Starts that wait came before what ends them.
    fn refuse_starts(&mut self) {
        let (starts, others): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(Command::is_start);
        self.waiting = others;
        // A start that fails removes a container that removes itself, once its files are free.
        if self.configuration.auto_remove && !starts.is_empty() && !self.prepares_start() {
            let (reply, _) = oneshot::channel();
            self.waiting.push_back(Command::Delete { force: true, reply });
        }
        for start in starts {
            if let Command::Start { reply, .. } = start {
                drop(reply.send(Err(self.ended_while_it_started("stopped"))));
            }
        }
    }

    pub(super) async fn maintained(&mut self) -> Life {
        let Some(maintenance) = self.maintenance.take() else { return Life::Goes };
        let id = self.configuration.id.clone();
        maintenance::clean_up(&self.service, &id);
        // A start that waits for a copy is not to come between that and what was filled for it.
        let is_kept = self.preparation.is_some() && !self.prepares_start();
        if !is_kept {
            self.service.volumes.release(&id);
        }
        if self.preparation.is_none() {
            maintenance.finish();
            return Life::Goes;
        }
        let life = self.prepared(maintenance.filled(&id)).await;
        if is_kept && self.maintenance.is_none() {
            self.service.volumes.release(&id);
        }
        life
    }
}
