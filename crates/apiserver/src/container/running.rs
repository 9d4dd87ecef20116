//! One run of a container: its helper and those who wait for its end.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bulkhead_api::event::DetachReason;
use bulkhead_runtime_control::{
    Connection, ControlError, DescriptorPurpose, DetachCause, ExitStatus, Failure, FailureCode, Reply,
    Request, RuntimeState,
};
use bulkhead_state::ExitRecord;
use tokio::sync::{oneshot, watch};

use super::identity::HelperProcess;
use super::signals;
use super::standstill::{Moving, Standstill};

/// A helper answers within milliseconds; one that does not is stopped or stuck (F10).
const REPLY_LIMIT: Duration = Duration::from_secs(5);
/// The helper tells of a change before it answers.
const SHOWN_LIMIT: Duration = Duration::from_secs(1);
/// From the death of the first process to that of the VM, its disk synced.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(3);

/// What was written without fsync(2) reaches the disk before the machine ends. Longer than the helper
/// itself waits.
const SYNC_LIMIT: Duration = Duration::from_secs(65);

/// Who is attached, by the number of the process and that of the client.
type Clients = HashMap<(u32, u64), watch::Sender<Option<DetachReason>>>;

/// A run under way. Shared by the actor and by requests.
#[derive(Debug)]
pub(crate) struct Run {
    connection: Connection,
    process: HelperProcess,
    end: watch::Receiver<Option<End>>,
    next_process: AtomicU32,
    waiting: Mutex<HashMap<u32, oneshot::Sender<ExitStatus>>>,
    paused: watch::Sender<bool>,
    standstill: Standstill,
    next_client: AtomicU64,
    clients: Mutex<Clients>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) exit: ExitRecord,
    /// Another run follows, by the restart policy.
    pub(crate) restarts: bool,
}

/// A client attached to a process of a run, until this is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    run: Arc<Run>,
    process: u32,
    pub(crate) number: u64,
    detached: watch::Receiver<Option<DetachReason>>,
}

impl Run {
    /// `first_process` is the lowest number that no process of this run has had, `first_client` that no
    /// client has had.
    pub(crate) fn new(
        connection: Connection,
        process: HelperProcess,
        end: watch::Receiver<Option<End>>,
        first_process: u32,
        first_client: u64,
    ) -> Self {
        Self {
            connection,
            process,
            end,
            next_process: AtomicU32::new(first_process),
            waiting: Mutex::default(),
            next_client: AtomicU64::new(first_client),
            clients: Mutex::default(),
            paused: watch::Sender::new(false),
            standstill: Standstill::default(),
        }
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
        self.end().await.map_or_else(|| lost_exit("the service ended"), |end| end.exit)
    }

    /// As [`Self::ended`], with what follows; `None` when the service ends before.
    pub(crate) async fn end(&self) -> Option<End> {
        let mut end = self.end.clone();
        end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())
    }

    pub(crate) async fn ends_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ended()).await.is_ok()
    }

    /// Ends it by all means, the gentlest first; false when even SIGKILL to the helper did not help.
    pub(crate) async fn kill(&self, sync_disk: bool) -> bool {
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
        // A client that does not read, be it one of an earlier service, holds up nothing any more: the
        // rest goes to the log.
        if let Err(error) = self.ask(Request::Detach { number: 0, client: None }).await {
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
        self.standstill.set_paused(paused);
        self.paused.send_replace(paused);
    }

    /// Waits until what the helper has answered was also told.
    pub(super) async fn is_shown_as(&self, paused: bool) {
        let mut receiver = self.paused.subscribe();
        // Not told within that time, it has changed again.
        let _ = tokio::time::timeout(SHOWN_LIMIT, receiver.wait_for(|shown| *shown == paused)).await;
    }

    /// A work is about to be started that has the processes stand still.
    pub(super) fn stands_still_for(&self, work: u32) {
        self.standstill.begin(work);
    }

    /// `None` while its processes stand still.
    pub(super) fn moving(&self) -> Option<Moving> {
        self.standstill.moving()
    }

    /// Ends the works for which the processes stand still.
    pub(super) async fn end_standstills(&self) {
        for number in self.standstill.works() {
            if let Err(error) = self.ask(Request::Signal { number, signal: signals::KILL }).await {
                tracing::debug!(number, "cannot end a work: {error}");
            }
        }
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
        self.standstill.process_ended(number);
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let (Some(sender), Some(status)) = (sender, status) {
            // Detached: nobody waits.
            drop(sender.send(status));
        }
    }

    /// A client of a process, before the helper hears of it: the one that comes with the process.
    pub(crate) fn first_client(self: &Arc<Self>, process: u32) -> Client {
        self.expect_client(process, 0)
    }

    /// A client that is about to be attached.
    pub(crate) fn further_client(self: &Arc<Self>, process: u32) -> Client {
        self.expect_client(process, self.next_client.fetch_add(1, Ordering::Relaxed))
    }

    fn expect_client(self: &Arc<Self>, process: u32, number: u64) -> Client {
        let detached =
            self.clients().entry((process, number)).or_insert_with(|| watch::channel(None).0).subscribe();
        Client { run: Arc::clone(self), process, number, detached }
    }

    /// The helper let go of a client.
    pub(crate) fn client_detached(&self, process: u32, number: u64, cause: DetachCause) {
        let reason = match cause {
            DetachCause::Keys => DetachReason::Keys,
            DetachCause::Replaced => DetachReason::Replaced,
        };
        // The first client may type its keys before anybody asks.
        let mut clients = self.clients();
        let known = match number {
            0 => Some(clients.entry((process, 0)).or_insert_with(|| watch::channel(None).0)),
            _ => clients.get_mut(&(process, number)),
        };
        if let Some(client) = known {
            client.send_replace(Some(reason));
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The VM is gone, and with it every further process.
    pub(crate) fn forget_processes(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Client {
    /// Ready when the helper has let go of it.
    pub(crate) async fn detached(&mut self) -> DetachReason {
        match self.detached.wait_for(Option::is_some).await.ok().and_then(|reason| *reason) {
            Some(reason) => reason,
            // The sender lives as long as this does.
            None => std::future::pending().await,
        }
    }

    /// The client is gone: the helper is to let go of it.
    pub(crate) async fn detach(&self) -> Result<(), ControlError> {
        self.run.ask(Request::Detach { number: self.process, client: Some(self.number) }).await.map(drop)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.run.clients().remove(&(self.process, self.number));
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
