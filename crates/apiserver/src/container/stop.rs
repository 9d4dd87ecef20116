//! Stopping and signalling.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::error::ApiError;
use bulkhead_api::request::StopRequest;
use bulkhead_runtime_control::{ControlError, FailureCode, Request};

use super::launch::Order;
use super::registry::Container;
use super::running::Run;
use super::signals;
use super::status::Phase;
use crate::error::{from_control, invalid_state, timed_out};

const DEFAULT_TIMEOUT_SECONDS: u64 = 5;
/// A start that does not take longer comes before what ends it.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// A year; keeps deadlines from overflowing.
const LONGEST_TIMEOUT_SECONDS: u64 = 365 * 24 * 3600;

/// What is to be ended.
#[derive(Debug)]
enum ToEnd {
    Started(Arc<Run>),
    /// It takes too long, which is up to its guest; no process hears of signals yet.
    Starting(Arc<Run>),
}

impl Container {
    /// Signal, wait, KILL. Stopping what is stopped succeeds, and ends the restarts of its policy.
    pub(crate) async fn stop(&self, request: &StopRequest) -> Result<(), ApiError> {
        self.stop_for(true, request).await
    }

    /// The service ends: what its restart policy says about the next start is left alone.
    pub(crate) async fn stop_with_service(&self) -> Result<(), ApiError> {
        self.stop_for(false, &StopRequest::default()).await
    }

    async fn stop_for(&self, by_user: bool, request: &StopRequest) -> Result<(), ApiError> {
        let signal = match &request.signal {
            Some(text) => signals::parse(text)?,
            // The image's author may have written anything.
            None => self.stop_signal(),
        };
        let seconds = request
            .timeout_seconds
            .or(self.configuration.stop_timeout_seconds)
            .unwrap_or(DEFAULT_TIMEOUT_SECONDS)
            .min(LONGEST_TIMEOUT_SECONDS);
        self.hold(by_user).await;
        let timeout = Duration::from_secs(seconds);
        match self.run_to_end().await {
            None => return Ok(()),
            Some(ToEnd::Started(run)) => self.stop_run(&run, signal, timeout).await?,
            Some(ToEnd::Starting(run)) => self.end(&run).await?,
        }
        self.tell("stop", &[]);
        Ok(())
    }

    /// Stops it if it runs, and starts it.
    pub(crate) async fn restart(&self, request: &StopRequest) -> Result<(), ApiError> {
        if self.configuration.auto_remove && self.settled_run().await.is_some() {
            return Err(invalid_state(format!(
                "container '{}' is removed when it stops: it cannot be restarted",
                self.id
            )));
        }
        self.stop(request).await?;
        self.start(Order::default()).await?;
        self.tell("restart", &[]);
        Ok(())
    }

    /// The run under way. One that has not begun is for the caller to hold.
    async fn run_to_end(&self) -> Option<ToEnd> {
        if let Ok(run) = tokio::time::timeout(START_PATIENCE, self.settled_run()).await {
            return run.map(ToEnd::Started);
        }
        let status = self.status();
        match (status.phase, status.run) {
            (Phase::Starting, Some(run)) => {
                self.mark_start_cut_short();
                Some(ToEnd::Starting(run))
            }
            (_, Some(run)) => Some(ToEnd::Started(run)),
            // No machine of its own runs yet, and none will.
            (_, None) => self.settled_run().await.map(ToEnd::Started),
        }
    }

    fn stop_signal(&self) -> u32 {
        let wanted = self.configuration.stop_signal.as_deref();
        wanted.and_then(|text| signals::parse(text).ok()).unwrap_or(signals::TERMINATE)
    }

    /// As [`Self::stop`], for one run.
    pub(crate) async fn stop_run(&self, run: &Run, signal: u32, timeout: Duration) -> Result<(), ApiError> {
        self.mark_stopping();
        // Frozen processes would not hear of the signal.
        if run.is_paused()
            && let Err(error) = run.ask(Request::SetPaused { paused: false }).await
        {
            tracing::debug!(id = self.id, "cannot unpause before a stop: {error}");
        }
        run.end_standstills().await;
        self.tell("kill", &[("signal", signal.to_string())]);
        let signalled = match run.ask(Request::Signal { number: 0, signal }).await {
            Ok(_) => true,
            // It is on its way down already.
            Err(ControlError::Refused(failure)) => {
                matches!(failure.code, FailureCode::ProcessNotFound | FailureCode::InvalidState)
            }
            Err(_) => false,
        };
        if signalled && run.ends_within(timeout).await {
            return Ok(());
        }
        self.end(run).await
    }

    /// Sends a signal to the first process; KILL waits for the end.
    pub(crate) async fn kill(&self, signal: &str) -> Result<(), ApiError> {
        let signal = signals::parse(signal)?;
        if signal == signals::KILL {
            return self.kill_to_the_end().await;
        }
        let run = self.running().await?;
        self.tell("kill", &[("signal", signal.to_string())]);
        // As with Docker, what is meant to end it ends its restarts.
        if signal == self.stop_signal() {
            self.hold(true).await;
        }
        run.ask(Request::Signal { number: 0, signal })
            .await
            .map(drop)
            .map_err(|error| from_control(&self.id, error))
    }

    async fn kill_to_the_end(&self) -> Result<(), ApiError> {
        let status = self.status();
        let is_prepared = status.phase == Phase::Starting && status.run.is_none();
        if is_prepared {
            // What comes before its machine may take long, and ends with this.
            self.hold(true).await;
        }
        let Some(ToEnd::Started(run) | ToEnd::Starting(run)) = self.run_to_end().await else {
            return if is_prepared { Ok(()) } else { Err(self.not_running()) };
        };
        self.tell("kill", &[("signal", signals::KILL.to_string())]);
        self.hold(true).await;
        self.end(&run).await
    }

    /// Sends a signal to one process.
    pub(crate) async fn signal(&self, number: u32, signal: &str) -> Result<(), ApiError> {
        let signal = signals::parse(signal)?;
        let run = self.running().await?;
        let outcome = run.ask(Request::Signal { number, signal }).await;
        outcome.map(drop).map_err(|error| from_control(&self.id, error))
    }

    /// Changes the size of one process's terminal.
    pub(crate) async fn resize(&self, number: u32, rows: u16, columns: u16) -> Result<(), ApiError> {
        let run = self.running().await?;
        let outcome = run.ask(Request::Resize { number, rows, columns }).await;
        outcome.map(drop).map_err(|error| from_control(&self.id, error))
    }

    async fn end(&self, run: &Run) -> Result<(), ApiError> {
        if run.kill(true).await {
            Ok(())
        } else {
            Err(timed_out(format!("container '{}' cannot be killed", self.id)))
        }
    }
}
