//! The state database as asynchronous code uses it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bulkhead_api::error::ApiError;
use bulkhead_state::{Change, Contents, Database, StateError};
use tokio::sync::oneshot;

use crate::error::failed;

/// The database; changes are written in the order in which they are submitted.
#[derive(Debug)]
pub(crate) struct Records(Mutex<Option<Database>>);

/// Becomes ready when a change is durable.
#[derive(Debug)]
pub(crate) struct Committed(oneshot::Receiver<Result<(), StateError>>);

impl Records {
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), StateError> {
        let (database, contents) = Database::open(path)?;
        Ok((Self(Mutex::new(Some(database))), contents))
    }

    /// Submits a change at once; await the result where it matters.
    pub(crate) fn submit(&self, change: Change) -> Committed {
        let (sender, receiver) = oneshot::channel();
        let database = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.as_ref() {
            database.submit(change, move |outcome| {
                if let Err(Err(error)) = sender.send(outcome) {
                    tracing::error!("{}", failed("cannot record a change", &error));
                }
            });
        }
        Committed(receiver)
    }

    /// Writes what was submitted and closes the database.
    pub(crate) fn close(&self) {
        let database = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(database);
    }
}

impl Committed {
    pub(crate) async fn wait(self) -> Result<(), ApiError> {
        let outcome = self.0.await.unwrap_or(Err(StateError::Closed));
        outcome.map_err(|error| failed("cannot record the change", &error))
    }
}
