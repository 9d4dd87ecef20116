//! An upload that the registry waits for.

use std::time::Duration;

use reqwest::{Method, Url};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::client::Client;
use crate::exchange::{Access, Call};
use crate::push::Pushing;

/// Nobody waits for it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// An upload session. The registry is told when it goes out of scope unfinished, be it that the push failed or that
/// its user gave up: what was sent so far would lie there until the registry tidies up (distribution specification,
/// "Cancel Blob Upload").
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    repository: String,
    name: String,
    url: Url,
    /// Length of the chunks, should it go in chunks.
    chunk_bytes: u64,
    /// Whether there is something to cancel.
    is_open: bool,
}

impl Session {
    pub(crate) fn new(client: &Client, pushing: &Pushing<'_>, url: Url, chunk_bytes: u64) -> Self {
        Self {
            client: client.clone(),
            repository: pushing.repository.to_owned(),
            name: pushing.name.clone(),
            url,
            chunk_bytes,
            is_open: true,
        }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// The registry has moved it.
    pub(crate) fn move_to(&mut self, url: Url) {
        self.url = url;
    }

    /// It is complete, or the registry does not know it any more.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where the runtime ends, the process does.
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.is_open) else { return };
        let (client, url, name) = (self.client.clone(), self.url.clone(), std::mem::take(&mut self.name));
        let access = Access::cancel(&self.repository);
        runtime.spawn(async move {
            let call = Call::new(Method::DELETE, url, &access, &name);
            // A registry that cannot or will not do it removes the upload later by itself.
            match timeout(CANCEL_TIMEOUT, client.attempt(&call)).await {
                Ok(Ok(_)) => tracing::debug!(blob = name, "upload is cancelled"),
                Ok(Err(failure)) => {
                    tracing::debug!(blob = name, error = %failure.error, "upload is not cancelled");
                }
                Err(_) => tracing::debug!(blob = name, "upload is not cancelled in time"),
            }
        });
    }
}
