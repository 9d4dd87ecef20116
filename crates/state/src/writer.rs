//! The thread that owns the connection.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};

use crate::change::Change;
use crate::error::StateError;
use crate::load::{Contents, load};
use crate::schema;

/// Changes that share one commit at most; bounds the time until the first of them is answered.
const LARGEST_BATCH: usize = 256;

type Done = Box<dyn FnOnce(Result<(), StateError>) + Send>;

struct Job {
    change: Change,
    done: Done,
}

/// The database. Dropping it writes what was submitted and closes it.
#[derive(Debug)]
pub struct Database {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens or creates the database, brings its schema up to date and reads everything.
    ///
    /// # Errors
    /// The file cannot be used or is of a newer program. Single damaged rows are no error: see
    /// [`Contents::quarantined`].
    pub fn open(path: &Path) -> Result<(Self, Contents), StateError> {
        let connection = schema::open(path)?;
        let contents = load(&connection)?;
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || write(connection, &receiver))
            .map_err(StateError::Thread)?;
        Ok((Self { jobs: Some(sender), thread: Some(thread) }, contents))
    }

    /// Submits a change and returns at once; `done` is called on the writer's thread when the change
    /// is durable or has failed.
    pub fn submit(&self, change: Change, done: impl FnOnce(Result<(), StateError>) + Send + 'static) {
        let job = Job { change, done: Box::new(done) };
        match &self.jobs {
            Some(jobs) => {
                if let Err(mpsc::SendError(job)) = jobs.send(job) {
                    (job.done)(Err(StateError::Closed));
                }
            }
            None => (job.done)(Err(StateError::Closed)),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked without ending the process: release builds abort.
            drop(thread.join());
        }
    }
}

fn write(mut connection: Connection, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while batch.len() < LARGEST_BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        if commit(&mut connection, batch.iter().map(|job| &job.change)).is_ok() {
            for job in batch {
                (job.done)(Ok(()));
            }
            continue;
        }
        // One bad change must not fail its neighbours.
        for job in batch {
            let outcome = commit(&mut connection, std::iter::once(&job.change));
            (job.done)(outcome);
        }
    }
}

fn commit<'a>(
    connection: &mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<(), StateError> {
    let failed = |source| StateError::Write { object: "a change".to_owned(), source };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for change in changes {
        change.apply(&transaction)?;
    }
    transaction.commit().map_err(failed)
}
