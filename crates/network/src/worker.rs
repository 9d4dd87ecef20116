//! Threads that change devices. The kernel may take milliseconds for it, and making a port moves the
//! thread through namespaces: neither is for the threads that serve requests.

use std::io;
use std::sync::mpsc;
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::port::{Plumbing, PortError};

/// Why there is no thread.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum WorkerError {
    /// Its sockets could not be opened.
    #[error("cannot prepare a thread for network devices")]
    Plumbing(#[source] PortError),
    /// It did not start.
    #[error("cannot start a thread for network devices")]
    Spawn(#[source] io::Error),
}

type Job = Box<dyn FnOnce(&mut Plumbing) + Send>;

/// One thread that does jobs in order.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// To be called in our namespace.
    pub(crate) fn start(name: &str) -> Result<Self, WorkerError> {
        let mut plumbing = Plumbing::open().map_err(WorkerError::Plumbing)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in queue {
                    job(&mut plumbing);
                }
            })
            .map_err(WorkerError::Spawn)?;
        Ok(Self { jobs })
    }

    /// Does a job; `None` if the thread has gone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Plumbing) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |plumbing| {
            // Nobody waits any more when the daemon shuts down.
            drop(sender.send(job(plumbing)));
        });
        self.jobs.send(job).ok()?;
        receiver.await.ok()
    }
}
