//! From running to stopped, or to nothing.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_paths::Directories;
use bulkhead_runtime_control::{Event, ExitReason, ExitStatus, FailureCode};
use bulkhead_state::{Change, ExitRecord};
use tokio::time::Instant;

use super::super::running::{End, lost_exit};
use super::super::status::Phase;
use super::super::{delete, launch};
use super::{Actor, Life, Reply, since};
use crate::error::{EXIT_OWN_FAILURE, from_failure, invalid_state, printable};

impl Actor {
    pub(super) async fn event(&mut self, event: Option<Event>) -> Life {
        match event {
            Some(Event::Started { timeline, kernel_release, vmm_pid }) => {
                self.started(timeline, &kernel_release, vmm_pid);
                Life::Goes
            }
            Some(Event::Progress) => {
                if let Some(starting) = self.active.as_mut().and_then(|active| active.starting.as_mut()) {
                    starting.goes_on();
                }
                Life::Goes
            }
            Some(Event::StartFailed(failure)) => {
                if let Some(starting) = self.active.as_mut().and_then(|active| active.starting.as_mut()) {
                    let is_damaged = failure.code == FailureCode::DamagedFileSystem;
                    let mut error = from_failure(failure);
                    if is_damaged {
                        let image = &self.configuration.image.reference;
                        error = error.with_hint(format!(
                            "The image or the container's disk is damaged; this mends images: container image verify {image}"
                        ));
                    } else if let Some(hint) = self.service.machines.hint(&error.message) {
                        error = error.with_hint(hint);
                    }
                    starting.failure.get_or_insert(error);
                }
                Life::Goes
            }
            Some(Event::Detached { number, client, cause }) => {
                if let Some(active) = &self.active {
                    active.run.client_detached(number, client, cause);
                }
                Life::Goes
            }
            Some(Event::ProcessExited { number: 0, .. }) => {
                tracing::debug!(id = self.configuration.id, "first process ended");
                self.publish(Phase::Stopping);
                Life::Goes
            }
            Some(Event::ProcessExited { number, status }) => {
                if let Some(active) = &self.active {
                    active.run.process_ended(number, Some(status));
                }
                Life::Goes
            }
            Some(Event::Paused { paused }) => {
                if let Some(active) = &self.active {
                    active.run.set_paused(paused);
                }
                self.tell(if paused { "pause" } else { "unpause" }, &[]);
                Life::Goes
            }
            Some(Event::Responsiveness { unresponsive_since }) => {
                if let Some(run) = &mut self.record.run {
                    run.unresponsive_since = unresponsive_since.as_deref().map(printable);
                }
                let phase = self.status.borrow().phase;
                self.publish(phase);
                Life::Goes
            }
            Some(Event::Stopped { status }) => {
                tracing::debug!(id = self.configuration.id, "machine ended");
                self.finish(exit_record(status))
            }
            None => {
                let exit = self.exit_of_lost_helper().await;
                self.finish(exit)
            }
        }
    }

    async fn exit_of_lost_helper(&self) -> ExitRecord {
        let id = &self.configuration.id;
        tracing::warn!(id, "the runtime helper ended without a word");
        if let Some(active) = &self.active {
            active.run.reap_helper().await;
        }
        exit_of_lost_run(&self.service.directories, id)
    }

    pub(super) fn delete(&mut self, force: bool, reply: Reply) -> Life {
        let id = &self.configuration.id;
        let refused = match (&self.active, self.restart_at) {
            _ if force => None,
            _ if self.prepares_start() => Some(format!("container '{id}' is starting")),
            (Some(_), _) => Some(format!("container '{id}' is running")),
            (None, Some(_)) => Some(format!("container '{id}' is restarting")),
            (None, None) => None,
        };
        if let Some(message) = refused {
            let error = invalid_state(message).with_hint("Stop it first, or delete it with --force.");
            drop(reply.send(Err(error)));
            return Life::Goes;
        }
        self.deletions.push(reply);
        let Some(active) = &self.active else { return self.remove() };
        if self.deletions.len() == 1 {
            let run = Arc::clone(&active.run);
            tokio::spawn(async move { run.kill(false).await });
            if active.starting.is_none() {
                self.publish(Phase::Stopping);
            }
        }
        Life::Goes
    }

    /// The VM is gone: releases everything and tells those who wait.
    fn finish(&mut self, mut exit: ExitRecord) -> Life {
        let Some(active) = self.active.take() else { return Life::Goes };
        self.monitor = None;
        let id = self.configuration.id.clone();
        launch::release(&self.service, &id);
        active.run.forget_processes();
        let has_started = active.starting.is_none();
        let ran_for = if has_started { since(self.running_since) } else { Duration::ZERO };
        let mut may_restart = true;
        let removed = !self.deletions.is_empty();
        let failure = active.starting.map(|starting| {
            may_restart = starting.by_policy;
            if removed {
                return (starting.replies, self.ended_while_it_started("removed"));
            }
            let error = starting.failure.unwrap_or_else(|| {
                let reason = exit.reason.as_deref().unwrap_or("its machine ended");
                let message = format!("container '{id}' did not start: {reason}");
                ApiError::new(ErrorCode::InternalError, message)
            });
            exit.exit_code = error.exit_code.unwrap_or(EXIT_OWN_FAILURE).into();
            (starting.replies, error)
        });
        self.record.run = None;
        self.record.exit = Some(exit.clone());
        self.tell_exit(&exit);
        if has_started {
            self.tell_networks("disconnect");
        }
        let remove = self.configuration.auto_remove || !self.deletions.is_empty();
        let life = if remove { self.remove() } else { Life::Goes };
        if life == Life::Goes {
            self.held |= !may_restart || removed;
            self.rest(ran_for);
        }
        active.end.send_replace(Some(End { exit, restarts: self.restart_at.is_some() }));
        if let Some((replies, error)) = failure {
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
        life
    }

    /// It does not run: for good, or until its restart policy starts it again.
    pub(super) fn rest(&mut self, ran_for: Duration) {
        let exit_code = self.record.exit.as_ref().map_or(0, |exit| exit.exit_code);
        let pause = match self.held {
            true => None,
            false => self.restarts.pause(exit_code, ran_for, self.record.restart_count),
        };
        self.restart_at = pause.map(|pause| Instant::now() + pause);
        self.save();
        self.publish(if pause.is_some() { Phase::Restarting } else { Phase::Stopped });
    }

    fn tell_exit(&self, exit: &ExitRecord) {
        if exit.oom_killed {
            self.tell("oom", &[]);
        }
        self.tell("die", &[("exitCode", exit.exit_code.to_string())]);
    }

    /// Frees the name and removes every trace; the caller hears of it when that is durable.
    pub(super) fn remove(&mut self) -> Life {
        let id = &self.configuration.id;
        let replies = std::mem::take(&mut self.deletions);
        let unlinked = match delete::discard_files(&self.service.directories, id) {
            Ok(unlinked) => unlinked,
            Err(error) => {
                tracing::error!(id, "cannot remove container: {error}");
                for reply in replies {
                    drop(reply.send(Err(error.clone())));
                }
                return Life::Goes;
            }
        };
        let committed = self.service.records.submit(Change::DeleteContainer { id: id.clone() });
        self.service.containers.forget(id);
        self.service.volumes.detach(id);
        self.tell("destroy", &[]);
        self.publish(Phase::Removed);
        let service = Arc::clone(&self.service);
        let id = id.clone();
        tokio::spawn(async move {
            let mut outcome = committed.wait().await;
            if outcome.is_err() {
                // On a full disk there may be room for the record once the files are gone.
                drop(unlinked.await);
                if !service.containers.contains(&id) {
                    outcome = service.records.submit(Change::DeleteContainer { id }).wait().await;
                }
            }
            for reply in replies {
                drop(reply.send(outcome.clone()));
            }
        });
        Life::Ends
    }
}

/// What a helper left behind that is no more.
pub(crate) fn exit_of_lost_run(directories: &Directories, id: &str) -> ExitRecord {
    let path = directories.container(id).exit_status();
    match ExitStatus::load(&path) {
        Ok(Some(status)) => exit_record(status),
        Ok(None) => lost_exit("runtime helper lost"),
        Err(error) => {
            tracing::warn!(id, "cannot read '{}': {error}", path.display());
            lost_exit("runtime helper lost")
        }
    }
}

pub(crate) fn exit_record(status: ExitStatus) -> ExitRecord {
    let reason = match (status.reason, status.message) {
        (_, Some(message)) => Some(printable(&message)),
        (ExitReason::ProcessExited, None) => None,
        (ExitReason::VmmLost, None) => Some("the virtual machine ended unexpectedly".to_owned()),
        (ExitReason::HelperLost, None) => Some("runtime helper lost".to_owned()),
        (ExitReason::StartFailed, None) => Some("the container did not start".to_owned()),
        (ExitReason::Killed, None) => Some("killed by ending its virtual machine".to_owned()),
    };
    ExitRecord {
        exit_code: status.exit_code,
        finished_date: status.finished_date,
        oom_killed: status.out_of_memory,
        reason,
    }
}
