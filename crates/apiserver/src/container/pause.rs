//! Pausing and resuming.

use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::Request;

use super::registry::Container;
use crate::error::from_control;

impl Container {
    /// Freezes its processes, or lets them go on.
    pub(crate) async fn set_paused(&self, paused: bool) -> Result<(), ApiError> {
        let run = self.running().await?;
        run.ask(Request::SetPaused { paused }).await.map_err(|error| from_control(&self.id, error))?;
        run.is_shown_as(paused).await;
        Ok(())
    }
}
