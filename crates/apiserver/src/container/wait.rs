//! Waiting for a container to stop.

use bulkhead_api::error::{ApiError, ErrorCode};

use super::registry::Container;
use super::status::{Phase, Status};

impl Container {
    /// The exit code of the last run, once no other follows by its restart policy; 0 when it never ran.
    pub(crate) async fn wait(&self) -> Result<i32, ApiError> {
        let mut watch = self.watch();
        loop {
            let status = watch.borrow_and_update().clone();
            if let Some(code) = settled(&status) {
                return Ok(code);
            }
            let Some(run) = status.run else {
                if watch.changed().await.is_err() {
                    return Ok(settled(&watch.borrow()).unwrap_or_default());
                }
                continue;
            };
            // Not the status: somebody may start it again before this task sees that it stopped.
            match run.end().await {
                Some(end) if !end.restarts => return Ok(end.exit.exit_code),
                Some(_) => {
                    // The status has said so before; a new run, or a stop, follows.
                    let same = |status: &Status| {
                        status.phase == Phase::Restarting
                            || status.run.as_ref().is_some_and(|now| std::sync::Arc::ptr_eq(now, &run))
                    };
                    if watch.wait_for(|status| !same(status)).await.is_err() {
                        return Ok(settled(&watch.borrow()).unwrap_or_default());
                    }
                }
                None => return Err(ApiError::new(ErrorCode::Interrupted, "the service ended")),
            }
        }
    }
}

fn settled(status: &Status) -> Option<i32> {
    matches!(status.phase, Phase::Stopped | Phase::Removed)
        .then(|| status.record.exit.as_ref().map_or(0, |exit| exit.exit_code))
}
