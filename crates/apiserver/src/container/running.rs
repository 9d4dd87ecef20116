//! One run of a container: its helper and those who wait for its end.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bulkhead_runtime_control::{
    Connection, ControlError, DescriptorPurpose, ExitStatus, Failure, FailureCode, Reply, Request,
    RuntimeState,
};
use bulkhead_state::ExitRecord;
use tokio::sync::{oneshot, watch};

use super::identity::HelperProcess;
use super::signals;

/// A helper answers within milliseconds; one that does not is stopped or stuck (F10).
const REPLY_LIMIT: Duration = Duration::from_secs(5);
/// The helper tells of a change before it answers.
const SHOWN_LIMIT: Duration = Duration::from_secs(1);
/// From the death of the first process to that of the VM, its disk synced.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(3);

/// What was written without fsync(2) reaches the disk before the machine ends. Longer than the helper
/// itself waits.
const SYNC_LIMIT: Duration = Duration::from_secs(65);

/// A run under way. Shared by the actor and by requests.
#[derive(Debug)]
pub(crate) struct Run {
    connection: Connection,
    process: HelperProcess,
    end: watch::Receiver<Option<ExitRecord>>,
    next_process: AtomicU32,
    waiting: Mutex<HashMap<u32, oneshot::Sender<ExitStatus>>>,
    paused: watch::Sender<bool>,
}

impl Run {
    /// `first_process` is the lowest number that no process of this run has had.
    pub(crate) fn new(
        connection: Connection,
        process: HelperProcess,
        end: watch::Receiver<Option<ExitRecord>>,
        first_process: u32,
    ) -> Self {
        let next_process = AtomicU32::new(first_process);
        let paused = watch::Sender::new(false);
        Self { connection, process, end, next_process, waiting: Mutex::default(), paused }
    }

    /// Asks the helper; a silent one is a timeout failure.
    pub(crate) async fn request(
        &self,
        request: Request,
        descriptors: &[(DescriptorPurpose, BorrowedFd<'_>)],
        limit: Duration,
    ) -> Result<Reply, ControlError> {
        match tokio::time::timeout(limit, self.connection.request(request, descriptors)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ControlError::Refused(Failure {
                code: FailureCode::Timeout,
                message: format!("the runtime helper did not answer within {} s", limit.as_secs()),
            })),
        }
    }

    /// A small request.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, ControlError> {
        self.request(request, &[], REPLY_LIMIT).await
    }

    /// How the run ended, once it has; after an `auto_remove` container was removed.
    pub(crate) async fn ended(&self) -> ExitRecord {
        let mut end = self.end.clone();
        let outcome = end.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        outcome.unwrap_or_else(|| lost_exit("the service ended"))
    }

    pub(crate) async fn ends_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ended()).await.is_ok()
    }

    /// Ends it by all means, the gentlest first; false when even SIGKILL to the helper did not help.
    pub(crate) async fn end(&self, sync_disk: bool) -> bool {
        if sync_disk && self.end_and_sync().await {
            return true;
        }
        if self.request(Request::Kill, &[], POWER_OFF_LIMIT).await.is_ok()
            && self.ends_within(POWER_OFF_LIMIT).await
        {
            return true;
        }
        self.process.kill();
        self.ends_within(REPLY_LIMIT).await
    }

    /// Ends the first process, if it still runs, and gives the guest the time that its disk takes.
    async fn end_and_sync(&self) -> bool {
        let killed = self.ask(Request::Signal { number: 0, signal: signals::KILL }).await.is_ok();
        if (killed || self.is_powering_off().await) && self.ends_within(POWER_OFF_LIMIT).await {
            return true;
        }
        if !self.is_powering_off().await {
            return false;
        }
        // A client that does not read holds up nothing any more: the rest goes to the log.
        if let Err(error) = self.ask(Request::Detach { number: 0 }).await {
            tracing::debug!("cannot detach before the end: {error}");
        }
        self.ends_within(SYNC_LIMIT).await
    }

    /// Its first process has ended, its machine has not.
    async fn is_powering_off(&self) -> bool {
        matches!(self.ask(Request::Status).await, Ok(Reply::Status(status)) if status.state == RuntimeState::Stopping)
    }

    /// The helper is of no use any more: makes sure that it, and with it the VM, is gone.
    pub(crate) async fn reap_helper(&self) {
        self.process.kill();
        if !self.process.wait(REPLY_LIMIT).await {
            tracing::error!(pid = self.process.identity.pid, "runtime helper does not die");
        }
    }

    /// Its processes are frozen.
    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Told by the helper, in the order in which it happened.
    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Waits until what the helper has answered was also told.
    pub(super) async fn is_shown_as(&self, paused: bool) {
        let mut receiver = self.paused.subscribe();
        // Not told within that time, it has changed again.
        let _ = tokio::time::timeout(SHOWN_LIMIT, receiver.wait_for(|shown| *shown == paused)).await;
    }

    /// Number of a further process and its end.
    pub(crate) fn expect_process(&self) -> (u32, oneshot::Receiver<ExitStatus>) {
        let number = self.next_process.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        (number, receiver)
    }

    /// A further process ended, or never started.
    pub(crate) fn process_ended(&self, number: u32, status: Option<ExitStatus>) {
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let (Some(sender), Some(status)) = (sender, status) {
            // Detached: nobody waits.
            drop(sender.send(status));
        }
    }

    /// The VM is gone, and with it every further process.
    pub(crate) fn forget_processes(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The exit of a container whose helper can tell nothing any more.
pub(crate) fn lost_exit(reason: &str) -> ExitRecord {
    ExitRecord {
        exit_code: 137,
        finished_date: crate::date::now(),
        oom_killed: false,
        reason: Some(reason.to_owned()),
    }
}
