//! From stopped to running.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::MachineStatus;
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::Timeline;
use bulkhead_state::ExitRecord;
use tokio::time::Instant;

use super::super::launch::{self, Launched, Order};
use super::super::status::Phase;
use super::preparing::Next;
use super::{Actor, Life, StartReply};
use crate::date;
use crate::error::{EXIT_OWN_FAILURE, invalid_state, printable, timed_out};
use crate::machine::Machines;

/// A VM boots within a tenth of a second; fifty at once on a small host take some seconds.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A start under way.
#[derive(Debug)]
pub(crate) struct Starting {
    pub(super) replies: Vec<StartReply>,
    pub(super) failure: Option<ApiError>,
    /// Nobody asked for it but the restart policy, which tries again.
    pub(super) by_policy: bool,
    deadline: Instant,
}

impl Starting {
    pub(crate) fn new() -> Self {
        Self::by(false)
    }

    fn by(by_policy: bool) -> Self {
        let deadline = Instant::now() + START_LIMIT;
        Self { replies: Vec::new(), failure: None, by_policy, deadline }
    }

    /// It takes long, for a reason.
    pub(super) fn goes_on(&mut self) {
        self.deadline = Instant::now() + START_LIMIT;
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Actor {
    /// Somebody wants it to run.
    pub(super) async fn start(&mut self, order: Order, reply: StartReply) -> Life {
        if let Some(active) = &mut self.active {
            let attached = !order.descriptors.is_empty();
            match &mut active.starting {
                _ if attached => {
                    let id = &self.configuration.id;
                    let error = invalid_state(format!("container '{id}' is already running"))
                        .with_hint(format!("Attach to it: container attach {id}"));
                    drop(reply.send(Err(error)));
                }
                Some(starting) => starting.replies.push(reply),
                None => drop(reply.send(Ok(Arc::clone(&active.run)))),
            }
            return Life::Goes;
        }
        self.restarts.reset();
        self.record.restart_count = 0;
        self.record.stopped_by_user = false;
        self.prepare(Next::Start { order, reply }).await
    }

    /// The service has started.
    pub(super) async fn resume(&mut self) -> Life {
        if self.active.is_some() || self.restart_at.is_some() {
            return Life::Goes;
        }
        tracing::info!(id = self.configuration.id, "starting by its restart policy");
        self.record.stopped_by_user = false;
        self.start_by_policy().await
    }

    /// The pause after the last run is over.
    pub(super) async fn restart(&mut self) -> Life {
        self.record.restart_count = self.record.restart_count.saturating_add(1);
        self.start_by_policy().await
    }

    async fn start_by_policy(&mut self) -> Life {
        self.prepare(Next::Policy).await
    }

    /// Everything is ready for it.
    pub(super) async fn launch(&mut self, order: Order, by_policy: bool) -> Result<&mut Starting, ApiError> {
        let Launched { active, record } = launch::launch(&self.service, &self.configuration, order).await?;
        let active = self.active.insert(active);
        self.record.run = Some(record);
        self.record.exit = None;
        self.record.started_date = None;
        self.record.health = None;
        let starting = active.starting.insert(Starting::by(by_policy));
        self.status.send_replace(super::Status {
            id: self.configuration.id.clone(),
            phase: Phase::Starting,
            run: Some(Arc::clone(&active.run)),
            record: self.record.clone(),
        });
        Ok(starting)
    }

    /// It was not launched, for this reason.
    pub(super) fn not_started(&mut self, reply: StartReply, error: ApiError) -> Life {
        let remove = self.configuration.auto_remove || !self.deletions.is_empty();
        let life = if remove { self.remove() } else { Life::Goes };
        if life == Life::Goes {
            self.publish(Phase::Stopped);
        }
        drop(reply.send(Err(error)));
        life
    }

    /// As [`Self::not_started`], where nobody but the restart policy asked for it.
    pub(super) fn not_restarted(&mut self, error: &ApiError) -> Life {
        if !self.deletions.is_empty() {
            return self.remove();
        }
        let id = &self.configuration.id;
        tracing::warn!(id, "cannot restart container: {error}");
        self.record.exit = Some(ExitRecord {
            exit_code: error.exit_code.unwrap_or(EXIT_OWN_FAILURE).into(),
            finished_date: date::now(),
            oom_killed: false,
            reason: Some(error.to_string()),
        });
        self.rest(Duration::ZERO);
        Life::Goes
    }

    /// The process was executed.
    pub(super) fn started(&mut self, timeline: Timeline, kernel_release: &str, vmm_pid: u32) {
        let machines = &self.service.machines;
        let resources = &self.configuration.resources;
        let machine = MachineStatus {
            vmm: machines.name().to_owned(),
            cpus: machines.cpus(resources.cpus.saturating_add(resources.cpu_overhead)),
            memory_in_bytes: Machines::memory_bytes(resources.memory_in_bytes),
            kernel_release: printable(kernel_release),
            pid: vmm_pid,
            kernel_boot_us: timeline.guest_boot_us,
            start_us: timeline.process_started_us,
        };
        if let Some(run) = &mut self.record.run {
            run.machine = Some(machine);
        }
        self.record.started_date = Some(date::now());
        self.running_since = Instant::now();
        self.watch_health();
        self.publish(Phase::Running);
        self.save();
        self.tell_networks("connect");
        self.tell("start", &[]);
        if let Some(active) = &mut self.active
            && let Some(starting) = active.starting.take()
        {
            for reply in starting.replies {
                drop(reply.send(Ok(Arc::clone(&active.run))));
            }
        }
    }

    pub(super) fn start_cut_short(&mut self) -> Life {
        let error = self.ended_while_it_started("stopped");
        if let Some(starting) = self.active.as_mut().and_then(|active| active.starting.as_mut()) {
            starting.failure.get_or_insert(error);
        }
        Life::Goes
    }

    pub(super) fn overdue(&mut self) -> Life {
        let id = &self.configuration.id;
        if let Some(active) = &mut self.active
            && let Some(starting) = &mut active.starting
        {
            starting.deadline += START_LIMIT;
            starting.failure.get_or_insert(timed_out(format!(
                "container '{id}' did not start within {} s",
                START_LIMIT.as_secs()
            )));
            let run = Arc::clone(&active.run);
            tokio::spawn(async move { run.kill(false).await });
        }
        Life::Goes
    }
}
