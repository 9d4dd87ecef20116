//! Stopping and signalling.

use std::time::Duration;

use bulkhead_api::error::ApiError;
use bulkhead_api::request::StopRequest;
use bulkhead_runtime_control::{ControlError, FailureCode, Request};

use super::registry::Container;
use super::running::Run;
use super::signals;
use crate::error::{from_control, timed_out};

const DEFAULT_TIMEOUT_SECONDS: u64 = 5;
/// A year; keeps deadlines from overflowing.
const LONGEST_TIMEOUT_SECONDS: u64 = 365 * 24 * 3600;

impl Container {
    /// Signal, wait, KILL. Stopping what is stopped succeeds.
    pub(crate) async fn stop(&self, request: &StopRequest) -> Result<(), ApiError> {
        let signal = match &request.signal {
            Some(text) => signals::parse(text)?,
            // The image's author may have written anything.
            None => self
                .configuration
                .stop_signal
                .as_deref()
                .and_then(|text| signals::parse(text).ok())
                .unwrap_or(signals::TERMINATE),
        };
        let seconds = request.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS).min(LONGEST_TIMEOUT_SECONDS);
        let Some(run) = self.settled_run().await else { return Ok(()) };
        self.stop_run(&run, signal, Duration::from_secs(seconds)).await
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
        let run = self.running().await?;
        if signal == signals::KILL {
            return self.end(&run).await;
        }
        run.ask(Request::Signal { number: 0, signal })
            .await
            .map(drop)
            .map_err(|error| from_control(&self.id, error))
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
        if run.end(true).await {
            Ok(())
        } else {
            Err(timed_out(format!("container '{}' cannot be killed", self.id)))
        }
    }
}
