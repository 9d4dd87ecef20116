//! The apiserver as commands see it: there when it is needed.

use std::io;
use std::time::Duration;

use bulkhead_client::{Client, ClientError, Exchange};
use bulkhead_paths::Directories;

use crate::daemon;
use crate::failure::Failure;
use crate::output::message;

/// How often a request is repeated before its failure is the user's.
const REPEATS: u32 = 6;
/// Doubled with each repetition; together they are more than a second.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// With `--debug`.
fn tell(exchange: &Exchange<'_>) {
    let Exchange { method, path, failure, duration } = exchange;
    let outcome = match failure {
        None => "done".to_owned(),
        Some(ClientError::Api(error)) => error.to_string(),
        Some(error) => error.to_string(),
    };
    message::debug(&format!("{method} {path}: {outcome}, after {:.1} ms", duration.as_secs_f64() * 1000.0));
}

/// The apiserver of this user.
#[derive(Debug)]
pub(crate) struct Services {
    directories: Directories,
    client: Client,
}

impl Services {
    /// Where the environment says they are; connects to nothing.
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        Ok(Self::in_directories(Directories::from_environment()?))
    }

    /// The apiserver of these directories.
    pub(crate) fn in_directories(directories: Directories) -> Self {
        let client = Client::new(directories.api_socket()).observed_by(tell);
        Self { directories, client }
    }

    /// For requests that are not worth starting the apiserver.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Its directories.
    pub(crate) fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Sends a request; starts the apiserver first if nobody listens.
    ///
    /// Repeating the request is safe: `Unreachable` means that nothing was sent, `Abandoned` that an
    /// apiserver which was just ending took a request that it did not act upon.
    pub(crate) async fn call<T>(
        &self,
        request: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..REPEATS {
            match request(&self.client).await {
                Err(error) if is_ending(&error) => {
                    // Its socket goes an instant after its connections do.
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(ClientError::Unreachable { source, .. }) if is_absent(&source) => {
                    daemon::start(&self.directories, daemon::DEFAULT_TIMEOUT)?;
                }
                other => return Ok(other?),
            }
        }
        Ok(request(&self.client).await?)
    }

    /// As [`Self::call`], for what is asked again and again: `None` once nobody listens any more.
    pub(crate) async fn call_again<T>(
        &self,
        request: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<Option<T>, Failure> {
        match request(&self.client).await {
            Err(error) if is_ending(&error) => Ok(None),
            Err(ClientError::Unreachable { source, .. }) if is_absent(&source) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Starts the apiserver if nobody listens, for commands that then send many requests at once.
    pub(crate) async fn ensure(&self) -> Result<(), Failure> {
        match tokio::net::UnixStream::connect(self.client.socket()).await {
            Err(error) if is_absent(&error) => {
                daemon::start(&self.directories, daemon::DEFAULT_TIMEOUT)?;
                Ok(())
            }
            // Whatever else is wrong, the requests will tell.
            _ => Ok(()),
        }
    }
}

/// Whether nobody serves: the socket is not there, or nobody listens on it, or whoever did ends.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset];
    kinds.contains(&error.kind())
}

/// Whether the request met an apiserver that was just ending, and had no effect.
fn is_ending(error: &ClientError) -> bool {
    match error {
        ClientError::Abandoned(_) => true,
        ClientError::Unreachable { source, .. } => source.kind() == io::ErrorKind::ConnectionReset,
        _ => false,
    }
}
