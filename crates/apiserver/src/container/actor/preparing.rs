//! What comes before a start, or before work on the files: copies with other containers come to their end, new
//! volumes that are only read are filled by a machine of their own. Commands are heard meanwhile, and those that
//! end a container end this as well.

use std::time::Duration;

use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::BuiltIn;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::launch::Order;
use super::super::maintenance::{self, Maintenance};
use super::super::status::Phase;
use super::{Actor, Life, StartReply};
use crate::volume::Purpose;

/// How long a start waits for copies of its volumes.
const COPIES_LIMIT: Duration = Duration::from_secs(10);

/// What is to follow.
#[derive(Debug)]
pub(super) enum Next {
    /// Somebody wants it to run.
    Start { order: Order, reply: StartReply },
    /// Its restart policy wants it to run.
    Policy,
    /// Somebody wants its files.
    Maintain { work: BuiltIn, order: Order, reply: StartReply },
}

/// Under way to what follows.
#[derive(Debug)]
pub(super) struct Preparation {
    next: Next,
    /// Copies are waited for until then; set as long as there are some.
    deadline: Option<Instant>,
    /// Volumes were filled, as far as there was anything to fill them with.
    filled: bool,
    /// Why nothing is to follow any more.
    cancelled: Option<ApiError>,
}

impl Preparation {
    fn is_start(&self) -> bool {
        !matches!(self.next, Next::Maintain { .. })
    }
}

/// Ready when a copy may have ended.
#[derive(Debug)]
pub(super) struct Copies {
    released: watch::Receiver<()>,
    deadline: Instant,
}

pub(super) async fn copies_ended(copies: Option<&mut Copies>) {
    let Some(copies) = copies else { return std::future::pending().await };
    // Too late, or without anybody to tell, it is over as well.
    let _ = tokio::time::timeout_at(copies.deadline, copies.released.changed()).await;
}

impl Actor {
    /// Whether the container itself is to run.
    pub(super) fn prepares_start(&self) -> bool {
        self.preparation.as_ref().is_some_and(Preparation::is_start)
    }

    pub(super) async fn prepare(&mut self, next: Next) -> Life {
        let preparation = Preparation { next, deadline: None, filled: false, cancelled: None };
        if preparation.is_start() {
            self.restart_at = None;
            self.held = false;
            self.publish(Phase::Starting);
        }
        self.proceed(preparation).await
    }

    async fn proceed(&mut self, mut preparation: Preparation) -> Life {
        let released = self.service.volumes.watch_releases();
        if preparation.is_start() && self.service.volumes.are_being_copied(&self.configuration) {
            let now = Instant::now();
            let deadline = *preparation.deadline.get_or_insert(now + COPIES_LIMIT);
            if now < deadline {
                self.copies = Some(Copies { released, deadline });
                self.preparation = Some(preparation);
                return Life::Goes;
            }
        } else {
            // What comes while its own volumes are filled has its own time.
            preparation.deadline = None;
        }
        if !preparation.filled {
            preparation.filled = true;
            match self.begin_filling(&preparation.next).await {
                Ok(None) => {}
                Ok(Some(maintenance)) => {
                    self.maintenance = Some(maintenance);
                    self.preparation = Some(preparation);
                    return Life::Goes;
                }
                Err(error) => return self.give_up(preparation.next, error),
            }
        }
        match preparation.next {
            Next::Start { order, reply } => match self.launch(order, false).await {
                Ok(starting) => {
                    starting.replies.push(reply);
                    Life::Goes
                }
                Err(error) => self.not_started(reply, error),
            },
            Next::Policy => match self.launch(Order::default(), true).await {
                Ok(_) => Life::Goes,
                Err(error) => self.not_restarted(&error),
            },
            Next::Maintain { work, order, reply } => {
                match maintenance::launch(&self.service, &self.configuration, work, order).await {
                    Ok(active) => self.maintenance = Some(Maintenance::new(active, reply)),
                    Err(error) => drop(reply.send(Err(error))),
                }
                Life::Goes
            }
        }
    }

    async fn begin_filling(&self, next: &Next) -> Result<Option<Maintenance>, ApiError> {
        let (service, configuration) = (&self.service, &self.configuration);
        let active = match next {
            Next::Maintain { work, .. } => {
                let visible = maintenance::visible(service, configuration, work)?;
                maintenance::begin_filling(service, configuration, &visible.mounts, Purpose::Copy).await?
            }
            Next::Start { .. } | Next::Policy => {
                let mounts = &configuration.mounts;
                maintenance::begin_filling(service, configuration, mounts, Purpose::Run).await?
            }
        };
        Ok(active.map(Maintenance::of_filling))
    }

    /// What it waited for is over.
    pub(super) async fn prepared(&mut self, outcome: Result<(), ApiError>) -> Life {
        self.copies = None;
        let Some(mut preparation) = self.preparation.take() else { return Life::Goes };
        match preparation.cancelled.take().or(outcome.err()) {
            Some(error) => self.give_up(preparation.next, error),
            None => self.proceed(preparation).await,
        }
    }

    /// Nothing is to follow; `how` ended it.
    pub(super) fn cancel_preparation(&mut self, how: &str) {
        let error = self.ended_while_it_started(how);
        let Some(preparation) = &mut self.preparation else { return };
        preparation.cancelled.get_or_insert(error);
        if let Some(maintenance) = &self.maintenance {
            maintenance.abort();
        }
        if let Some(copies) = &mut self.copies {
            copies.deadline = Instant::now();
        }
    }

    fn give_up(&mut self, next: Next, error: ApiError) -> Life {
        match next {
            Next::Start { reply, .. } => self.not_started(reply, error),
            Next::Policy if self.held && self.deletions.is_empty() => {
                self.rest(Duration::ZERO);
                Life::Goes
            }
            Next::Policy => self.not_restarted(&error),
            Next::Maintain { reply, .. } => {
                drop(reply.send(Err(error)));
                if self.deletions.is_empty() { Life::Goes } else { self.remove() }
            }
        }
    }
}
